"""list.append on a list inside a dict that was frozen in place, in a late phase's pool.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'plugin'
      address      0x* (pool 'plugin', chunk 0, offset 0x*)
      object       FrozenList at 0x* + #
      path         plugin['hooks']['on_load']
      thread       PID/PID 'python'
      instruction  0x* <libc.so.6|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "init_nested_store.py", line {here} in <module>
"""

import pmalloc

pmalloc.mark_rodata_ro()
with pmalloc.late_init("plugin"):
    HOOKS = pmalloc.ro_after_init({"on_load": ["check"]}, name="hooks")
list.append(HOOKS["on_load"], "evil")  # here

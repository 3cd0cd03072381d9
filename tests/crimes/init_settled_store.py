"""dict.__setitem__, as C code does it, on a dict that was frozen in place at the end of init.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'global'
      address      0x* (pool 'global', chunk 0, offset 0x*)
      object       FrozenDict at 0x* + #
      path         global['routes']
      thread       PID/PID 'python'
      instruction  0x* <libc.so.6|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "init_settled_store.py", line {here} in <module>
"""

import pmalloc

ROUTES = pmalloc.ro_after_init({"/": "index"}, name="routes")
pmalloc.mark_rodata_ro()
dict.__setitem__(ROUTES, "/", "evil")  # here

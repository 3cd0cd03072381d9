"""list.reverse on a frozen list.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + #
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <libc.so.6|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "list_reverse.py", line {here} in <module>
"""

import pmalloc

frozen = pmalloc.freeze(["alpha", "beta", "gamma"], name="crime")
list.reverse(frozen)  # here

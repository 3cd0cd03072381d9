"""A large list.extend on a frozen list, which hands its items to realloc.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + #
      path         crime
      thread       PID/PID 'python'
      instruction  0x* _core+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "list_extend.py", line {here} in <module>
"""

import pmalloc

frozen = pmalloc.freeze(["alpha", "beta", "gamma"], name="crime")
list.extend(frozen, range(100_000))  # here

"""The same while tracemalloc has its own functions in front of realloc.

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
      File "list_extend_tracemalloc.py", line {here} in <module>
"""

import tracemalloc

import pmalloc

frozen = pmalloc.freeze(["alpha", "beta", "gamma"], name="crime")
tracemalloc.start()
list.extend(frozen, range(100_000))  # here

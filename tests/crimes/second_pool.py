"""Two pools: the report names the one that was hit.

Exit: SIGSEGV
Stdout:
    ['alpha'] ['beta']
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + 16
      path         crime
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "second_pool.py", line {here} in <module>
"""

import ctypes

import pmalloc

first = pmalloc.freeze(["alpha"], name="innocent")
second = pmalloc.freeze(["beta"], name="crime")
print(first, second)
ctypes.memset(id(second) + 16, 0, 8)  # here

"""A stray store into the data of an array.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 16 (size 80)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "array_store.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime")
array = pool.ndarray(10, "f8")
pool.protect()
ctypes.memset(array.ctypes.data + 16, 0xFF, 8)  # here

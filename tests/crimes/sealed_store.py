"""A store into a sealed pool: reported as any other.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 5 (size 64)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "sealed_store.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime")
buffer = pool.alloc(64)
pool.protect(seal=True)
ctypes.memset(buffer.address + 5, 0xFF, 1)  # here

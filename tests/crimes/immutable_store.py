"""A store into an immutable pool.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 99 (size 100)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "immutable_store.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", backing="memfd")
buffer = pool.alloc(100)
pool.protect(immutable=True)
ctypes.memset(buffer.address + 99, 0xFF, 1)  # here

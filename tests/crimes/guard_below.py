"""A store below the first byte of a chunk, while the pool is still open.

Exit: SIGSEGV
Stderr:
    pmalloc: guard page of pool 'crime' hit (write)
      address      0x* (pool 'crime', 8 bytes below chunk 0)
      object       none (guard page)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "guard_below.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", chunk_size=4096)
buffer = pool.alloc(4096)
ctypes.memset(buffer.address - 8, 0, 8)  # here

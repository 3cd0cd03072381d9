"""A store into bytes of a protected pool that were never handed out.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       none (free space)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "free_space_store.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", chunk_size=4096)
buffer = pool.alloc(100)
pool.protect()
ctypes.memset(buffer.address + 2048, 0, 8)  # here

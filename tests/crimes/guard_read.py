"""A read past the end of a protected chunk.

Exit: SIGSEGV
Stderr:
    pmalloc: guard page of pool 'crime' hit (read)
      address      0x* (pool 'crime', 100 bytes past the end of chunk 0)
      object       none (guard page)
      thread       PID/PID 'python'
      instruction  0x* python+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "guard_read.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", chunk_size=4096)
buffer = pool.alloc(4096)
pool.protect()
ctypes.c_char.from_address(buffer.address + 4096 + 100).value  # here

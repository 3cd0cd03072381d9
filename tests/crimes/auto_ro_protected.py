"""A direct store into the last chunk of an auto_ro pool that was protected.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 1, offset 0x*)
      object       allocation at 0x* + 24 (size 4000)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "auto_ro_protected.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", mode="auto_ro", chunk_size=4096)
pool.alloc(4000)
newest = pool.alloc(4000)
ctypes.memset(newest.address, 1, 8)
pool.protect()
ctypes.memset(newest.address + 24, 0xFF, 8)  # here

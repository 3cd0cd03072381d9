"""A direct store into a full chunk of an open auto_wr pool.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 24 (size 4000)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "auto_wr_closed.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", mode="auto_wr", chunk_size=4096)
full = pool.alloc(4000)
ctypes.memset(full.address, 1, 8)  # it is the newest, and open
newest = pool.alloc(4000)
ctypes.memset(newest.address, 1, 8)
ctypes.memset(full.address + 24, 0xFF, 8)  # here

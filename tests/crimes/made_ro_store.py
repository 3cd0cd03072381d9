"""A direct store into a pool that was write-rare, and was made read-only.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 24 (size 100)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "made_ro_store.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", mode="wr")
buffer = pool.alloc(100)
pool.protect()
pool.make_ro()
ctypes.memset(buffer.address + 24, 0xFF, 8)  # here

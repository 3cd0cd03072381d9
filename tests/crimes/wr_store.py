"""A direct store into a protected pool that is write-rare.

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
      File "wr_store.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", mode="wr")
buffer = pool.alloc(100)
ctypes.memset(buffer.address, 1, 8)  # it is open as yet
pool.protect()
ctypes.memset(buffer.address + 24, 0xFF, 8)  # here

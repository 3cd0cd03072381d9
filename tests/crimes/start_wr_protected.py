"""A direct store into a start_wr pool that was protected.

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
      File "start_wr_protected.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", mode="start_wr")
buffer = pool.copy(bytes(100))
pool.protect()
ctypes.memset(buffer.address + 24, 0xFF, 8)  # here

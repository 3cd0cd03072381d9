"""A stray store into the header of a Record, which is read-only from the first byte.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       Switches at 0x* + 16
      path         <Switches at 0x*> (the pool has no root)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "record_header.py", line {here} in <module>
"""

import ctypes

import pmalloc


class Switches(pmalloc.Record):
    enabled: bool = True
    limit: pmalloc.u32 = 100


pool = pmalloc.Pool("crime", mode="start_wr")
switches = pool.new(Switches)
ctypes.memset(id(switches) + object.__basicsize__, 0xFF, 4)  # here

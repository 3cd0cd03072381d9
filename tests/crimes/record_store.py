"""A stray store into a field of a Record.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       Switches at 0x* + 28
      path         <Switches at 0x*>.limit (the pool has no root)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "record_store.py", line {here} in <module>
"""

import ctypes

import pmalloc


class Switches(pmalloc.Record):
    enabled: bool = True
    limit: pmalloc.u32 = 100


pool = pmalloc.Pool("crime", mode="wr")
switches = pool.new(Switches)
pool.protect()
ctypes.memset(id(switches) + Switches.limit.offset, 0xFF, 4)  # here

"""`warn` is for data: a guard page is hit.

Exit: SIGSEGV
Stderr:
    pmalloc: guard page of pool 'crime' hit (write)
      address      0x* (pool 'crime', 0 bytes past the end of chunk 0)
      object       none (guard page)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "warn_guard.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", on_violation="warn", chunk_size=65536)
table = pool.alloc(65536)
pool.protect()
ctypes.memset(table.address + 65536, 0xFF, 1)  # here

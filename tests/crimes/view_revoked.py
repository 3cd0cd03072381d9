"""A view that may write was revoked, and writes.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + # (size 100)
      thread       PID/PID 'python'
      instruction  0x* <libc.so.6|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "view_revoked.py", line {here} in <module>
"""

import pmalloc

pool = pmalloc.Pool("crime")
view = memoryview(pool.alloc(100))
pool.protect(revoke=True)
view[7] = 1  # here

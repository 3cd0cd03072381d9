"""`warn` can't open a sealed page: it is `oops`, and says so beforehand.

Exit: SIGSEGV
Stdout:
    warn oops
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 16 (size 80)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "warn_sealed.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", on_violation="warn")
table = pool.alloc(80)
pool.protect(seal=True)
print(pool.stats()["on_violation"], pool.stats()["policy"])
ctypes.memset(table.address + 16, 0xFF, 8)  # here

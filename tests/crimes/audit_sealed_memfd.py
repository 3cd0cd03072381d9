"""`audit` can do nothing about a sealed memfd: it is `oops`.

Exit: SIGSEGV
Stdout:
    oops
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 16 (size 80)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "audit_sealed_memfd.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", on_violation="audit", backing="memfd")
table = pool.alloc(80)
pool.protect(seal=True)
print(pool.stats()["policy"])
ctypes.memset(table.address + 16, 0xFF, 1)  # here

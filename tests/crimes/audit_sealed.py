"""`audit`: a sealed pool; what is emulated needs no page opened.

Exit: 0
Stdout:
    audit 255 0
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 16 (size 80)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       audit
      Python stack of this thread:
    Stack (most recent call first):
      File "audit_sealed.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", on_violation="audit")
table = pool.alloc(80)
pool.protect(seal=True)
ctypes.memset(table.address + 16, 0xFF, 1)  # here
print(pool.stats()["policy"], bytes(table)[16], pool.stats()["violations_stepped"])

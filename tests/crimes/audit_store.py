"""`audit`: a store takes effect, is recorded, and the page stays shut.

Exit: 0
Stdout:
    2 {here} [(b'\x00', b'\xee'), (b'\xee', b'\xff')]
    b'\xff' False True
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 16 (size 80)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       audit
      Python stack of this thread:
    Stack (most recent call first):
      File "audit_store.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", on_violation="audit")
table = pool.alloc(80)
pool.protect()
for value in (0xEE, 0xFF):
    ctypes.memset(table.address + 16, value, 1)  # here
[violation] = pmalloc.violations()
print(violation.count, violation.lineno, [(w.before, w.after) for w in violation.writes])
print(bytes(table)[16:17], pool.stats()["tainted"], pmalloc.is_protected(table))

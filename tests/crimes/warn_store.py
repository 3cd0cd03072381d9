"""`warn`: the first store is reported, and all of them take effect.

Exit: 0
Stdout:
    ProtectionWarning {here}
    b'\xff\xff\xff\xff\xff\xff\xff\xff' True 1 False
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 16 (size 80)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       warn
      Python stack of this thread:
    Stack (most recent call first):
      File "warn_store.py", line {here} in <module>
"""

import ctypes
import warnings

import pmalloc

pool = pmalloc.Pool("crime", on_violation="warn")
table = pool.alloc(80)
pool.protect()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    ctypes.memset(table.address + 16, 0xFF, 8)  # here
    ctypes.memset(table.address + 40, 0xFF, 8)
for warning in caught:
    print(warning.category.__name__, warning.lineno)
stats = pool.stats()
print(bytes(table)[16:24], stats["tainted"], stats["violations"], pmalloc.is_protected(table))

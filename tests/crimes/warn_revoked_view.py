"""`warn`: struct.pack_into through a view that was revoked.

Exit: 0
Stdout:
    7 1
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 16 (size 80)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       warn
      Python stack of this thread:
    Stack (most recent call first):
      File "warn_revoked_view.py", line {here} in <module>
"""

import struct
import warnings

import pmalloc

warnings.simplefilter("ignore")
pool = pmalloc.Pool("crime", on_violation="warn")
table = pool.alloc(80)
view = memoryview(table)
pool.protect(revoke=True)
struct.pack_into("<I", view, 16, 7)  # here
print(bytes(table)[16], pool.stats()["violations"])
view.release()

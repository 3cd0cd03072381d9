"""`audit`: struct.pack_into through a view that was revoked: it clears the bytes, then stores.

Exit: 0
Stdout:
    b'\x07\x00\x00\x00' True
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 16 (size 80)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       audit
      Python stack of this thread:
    Stack (most recent call first):
      File "audit_revoked_view.py", line {here} in <module>
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 16 (size 80)
      thread       PID/PID 'python'
      instruction  0x* <_struct|python>+0x*
      policy       audit
      Python stack of this thread:
    Stack (most recent call first):
      File "audit_revoked_view.py", line {here} in <module>
"""

import struct

import pmalloc

pool = pmalloc.Pool("crime", on_violation="audit")
table = pool.alloc(80)
view = memoryview(table)
pool.protect(revoke=True)
struct.pack_into("<I", view, 16, 7)  # here
cleared, stored = pmalloc.violations()
print(bytes(table)[16:20], cleared.lineno == stored.lineno)
view.release()

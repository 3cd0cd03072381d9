"""`audit`: a thread that Python knows nothing of.

Exit: 0
Stdout:
    b'\x00\x00\x00\x00\x00\x00\x00\x00' () True
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 0 (size 80)
      thread       PID/TID 'python'
      instruction  0x* libc.so.6+0x*
      policy       audit
      Python stack of this thread:
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", on_violation="audit")
table = pool.copy(b"x" * 80)
pool.protect()
libc = ctypes.CDLL(None)
thread = ctypes.c_ulong()
# sigemptyset() as a thread's main function: it clears what its argument points to.
libc.pthread_create(ctypes.byref(thread), None, libc.sigemptyset, ctypes.c_void_p(table.address))
libc.pthread_join(thread, None)
[violation] = pmalloc.violations()
print(bytes(table)[:8], violation.frames, violation.filename == "")

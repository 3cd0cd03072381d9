"""`warn`: a thread that Python knows nothing of; the warning has no line to point at.

Exit: 0
Stdout:
    0 [('ProtectionWarning', '<unknown>')]
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 0 (size 80)
      thread       PID/TID 'python'
      instruction  0x* libc.so.6+0x*
      policy       warn
      Python stack of this thread:
"""

import ctypes
import warnings

import pmalloc

pool = pmalloc.Pool("crime", on_violation="warn")
table = pool.copy(b"x" * 80)
pool.protect()
libc = ctypes.CDLL(None)
thread = ctypes.c_ulong()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    # sigemptyset() as a thread's main function: it clears what its argument points to.
    libc.pthread_create(
        ctypes.byref(thread), None, libc.sigemptyset, ctypes.c_void_p(table.address)
    )
    libc.pthread_join(thread, None)
print(bytes(table)[0], [(w.category.__name__, w.filename) for w in caught])

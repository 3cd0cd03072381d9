"""The file behind an immutable pool is opened for writing, and written.

Exit: 1
Stdout:
    b'genuine'
Raises:
    PermissionError: [Errno 1] Operation not permitted
"""

import os

import pmalloc

pool = pmalloc.Pool("crime", backing="memfd")
buffer = pool.copy(b"genuine")
pool.protect(immutable=True)
again = os.open(f"/proc/self/fd/{pool.fileno()}", os.O_RDWR)
try:
    os.pwrite(again, b"forgery" * 10_000, 0)
finally:
    print(bytes(buffer))

"""/proc/self/mem ignores page protection, but not what makes a pool immutable.

Exit: 1
Stdout:
    b'genuine'
Raises:
    OSError: [Errno 5] Input/output error
"""

import os

import pmalloc

pool = pmalloc.Pool("crime", backing="memfd")
buffer = pool.copy(b"genuine")
pool.protect(immutable=True)
mem = os.open("/proc/self/mem", os.O_RDWR)
try:
    os.pwrite(mem, b"forgery", buffer.address)
finally:
    print(bytes(buffer))

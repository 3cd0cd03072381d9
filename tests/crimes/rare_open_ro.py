"""A rare write to a pool that is open, and has no rare write.

Exit: 1
Stdout:
    b'as it was'
Raises: pmalloc.ProtectedError: cannot rare-write this allocation of pool 'crime': its mode is \
    'ro', and it is open; store into it until it is protected, or make the pool with mode 'wr'
"""

import pmalloc

pool = pmalloc.Pool("crime", mode="ro")
buffer = pool.copy(b"as it was")
try:
    with pmalloc.rare_write(buffer) as staged:
        staged[0] = 0
finally:
    print(bytes(buffer))

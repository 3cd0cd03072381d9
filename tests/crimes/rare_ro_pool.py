"""A rare write to a read-only pool.

Exit: 1
Stdout:
    b'as it was'
Raises: pmalloc.ProtectedError: cannot rare-write this allocation of pool 'crime': its mode is \
    'ro', and what it protects does not change any more; a pool that is to be written takes mode \
    'wr', 'auto_wr' or 'start_wr'
"""

import pmalloc

pool = pmalloc.Pool("crime", mode="ro")
buffer = pool.copy(b"as it was")
pool.protect()
try:
    with pmalloc.rare_write(buffer) as staged:
        staged[0] = 0
finally:
    print(bytes(buffer))

"""A pool is made read-only while a rare write to it is under way.

Exit: 1
Stdout:
    b'as it was'
Raises: pmalloc.ProtectedError: cannot rare-write this allocation of pool 'crime': its mode is \
    'ro', and what it protects does not change any more; a pool that is to be written takes mode \
    'wr', 'auto_wr' or 'start_wr'
"""

import pmalloc

pool = pmalloc.Pool("crime", mode="wr")
buffer = pool.copy(b"as it was")
pool.protect()
try:
    with pmalloc.rare_write(buffer) as staged:
        staged[0] = 0
        pool.make_ro()
finally:
    print(bytes(buffer))

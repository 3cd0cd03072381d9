"""A rare write to a full chunk of an open auto_ro pool.

Exit: 1
Stdout:
    b'as it was'
Raises: pmalloc.ProtectedError: cannot rare-write this allocation of pool 'crime': its mode is \
    'auto_ro', and what it protects does not change any more; a pool that is to be written takes \
    mode 'wr', 'auto_wr' or 'start_wr'
"""

import pmalloc

pool = pmalloc.Pool("crime", mode="auto_ro", chunk_size=4096)
buffer = pool.copy(b"as it was")
pool.alloc(4096)
try:
    with pmalloc.rare_write(buffer) as staged:
        staged[0] = 0
finally:
    print(bytes(buffer))

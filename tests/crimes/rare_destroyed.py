"""A rare write to an allocation of a pool that was destroyed.

Exit: 1
Raises: pmalloc.DestroyedError: cannot rare-write this allocation of pool 'crime': the pool was \
    destroyed
"""

import pmalloc

pool = pmalloc.Pool("crime", mode="wr")
buffer = pool.copy(b"as it was")
pool.protect()
pool.destroy()
with pmalloc.rare_write(buffer) as staged:
    staged[0] = 0

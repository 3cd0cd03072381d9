"""A rare write to an allocation that was freed.

Exit: 1
Raises: ValueError: cannot rare-write this allocation of pool 'crime': it was freed
"""

import pmalloc

pool = pmalloc.Pool("crime", mode="wr")
buffer = pool.copy(b"as it was")
pool.protect()
pool.free(buffer)
with pmalloc.rare_write(buffer) as staged:
    staged[0] = 0

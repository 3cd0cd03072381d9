"""A pool is destroyed while a rare write to it is under way.

Exit: 1
Raises: pmalloc.DestroyedError: cannot rare-write pool 'crime': it was destroyed
"""

import pmalloc

pool = pmalloc.Pool("crime", mode="wr")
buffer = pool.copy(b"as it was")
pool.protect()
with pmalloc.rare_write(buffer) as staged:
    staged[0] = 0
    pool.destroy()

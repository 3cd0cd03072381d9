"""The staged memoryview is used after its block.

Exit: 1
Raises: ValueError: operation forbidden on released memoryview object
"""

import pmalloc

pool = pmalloc.Pool("crime", mode="wr")
buffer = pool.copy(b"as it was")
with pmalloc.rare_write(buffer) as staged:
    pass
staged[0] = 0

"""An allocation is freed twice.

Exit: 1
Raises:
    ValueError: cannot free from pool 'crime': the allocation was already freed
"""

import pmalloc

pool = pmalloc.Pool("crime")
buffer = pool.alloc(100)
pool.free(buffer)
pool.free(buffer)

"""An allocation is freed from another pool than its own.

Exit: 1
Raises:
    ValueError: cannot free from pool 'crime': the allocation belongs to pool 'other'
"""

import pmalloc

pool = pmalloc.Pool("crime")
pool.free(pmalloc.Pool("other").alloc(100))

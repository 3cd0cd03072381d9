"""A pool is destroyed while its memory is in view.

Exit: 1
Raises:
    BufferError: cannot destroy pool 'crime': 1 view(s) of its allocations are alive; release them \
         first
"""

import pmalloc

pool = pmalloc.Pool("crime")
view = memoryview(pool.alloc(100))
pool.destroy(force=True)

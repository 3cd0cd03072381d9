"""A view that may write is alive when the pool is protected.

Exit: 1
Raises:
    BufferError: cannot protect pool 'crime': 1 writable view(s) of its allocations are alive; \
        release them, or pass revoke=True and no longer write to them
"""

import pmalloc

pool = pmalloc.Pool("crime")
view = memoryview(pool.alloc(100))
pool.protect()

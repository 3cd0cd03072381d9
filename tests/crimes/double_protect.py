"""A pool is protected twice.

Exit: 1
Raises:
    pmalloc.ProtectedError: cannot protect pool 'crime': it is protected, and there is no way \
        back; use a new pool
"""

import pmalloc

pool = pmalloc.Pool("crime")
pool.alloc(100)
pool.protect()
pool.protect()

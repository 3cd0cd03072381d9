"""Memory is asked for from a protected pool.

Exit: 1
Raises:
    pmalloc.ProtectedError: cannot allocate from pool 'crime': it is protected, and there is no \
        way back; use a new pool
"""

import pmalloc

pool = pmalloc.Pool("crime")
pool.protect()
pool.alloc(100)

"""Objects are frozen into a protected pool.

Exit: 1
Raises:
    pmalloc.ProtectedError: cannot freeze into pool 'crime': it is protected, and there is no way \
        back; use a new pool
"""

import pmalloc

pool = pmalloc.Pool("crime")
pool.protect()
pool.freeze(["alpha"])

"""A sealed pool is destroyed, by force.

Exit: 1
Raises:
    pmalloc.SealedError: cannot destroy pool 'crime': it is sealed, and stays for the life of the \
         process
"""

import pmalloc

pool = pmalloc.Pool("crime")
pool.alloc(100)
pool.protect(seal=True)
pool.destroy(force=True)

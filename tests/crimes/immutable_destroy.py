"""An immutable pool is destroyed.

Exit: 1
Raises:
    pmalloc.SealedError: cannot destroy pool 'crime': it is sealed, and stays for the life of the \
         process
"""

import pmalloc

pool = pmalloc.Pool("crime", backing="memfd")
pool.alloc(100)
pool.protect(immutable=True)
pool.destroy(force=True)

"""A pool of private memory is to become immutable.

Exit: 1
Raises:
    ValueError: cannot make pool 'crime' immutable: its memory is private; create it with \
         backing='memfd'
"""

import pmalloc

pool = pmalloc.Pool("crime")
pool.alloc(100)
pool.protect(immutable=True)

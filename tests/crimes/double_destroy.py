"""A pool is destroyed twice.

Exit: 1
Raises:
    pmalloc.DestroyedError: cannot destroy pool 'crime': it was destroyed
"""

import pmalloc

pool = pmalloc.Pool("crime")
pool.destroy()
pool.destroy()

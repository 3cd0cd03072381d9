"""A pool is destroyed while a view of one of its arrays is alive.

Exit: 1
Raises:
    BufferError: cannot destroy pool 'crime': 1 array(s) whose data lies in it are alive; drop \
        them, and views of them, first
"""

import pmalloc

pool = pmalloc.Pool("crime")
view = pool.ndarray((2, 3))[1:]
pool.protect()
pool.destroy(force=True)

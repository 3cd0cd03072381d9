"""A view of an array, taken before, is written after protect().

Exit: 1
Raises:
    ValueError: assignment destination is read-only
"""

import pmalloc

pool = pmalloc.Pool("crime")
view = pool.ndarray((2, 3))[1:]
pool.protect()
view[0, 0] = 1

"""A typed array is written by the view that its owner has, after protect().

Exit: 1
Raises: TypeError: cannot modify read-only memory
"""

import pmalloc

pool = pmalloc.Pool("crime")
rates = pool.array("d", [1.5, 2.5])
pool.protect()
rates[0] = 0.5

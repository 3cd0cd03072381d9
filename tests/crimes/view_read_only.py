"""A view that was taken after protect() refuses by itself.

Exit: 1
Raises:
    TypeError: cannot modify read-only memory
"""

import pmalloc

pool = pmalloc.Pool("crime")
buffer = pool.alloc(100)
pool.protect()
memoryview(buffer)[7] = 1

"""A view of an allocation is asked for after its pool was destroyed.

Exit: 1
Raises:
    BufferError: no view of this allocation of pool 'crime': the pool was destroyed
"""

import pmalloc

pool = pmalloc.Pool("crime")
buffer = pool.alloc(100)
pool.destroy()
memoryview(buffer)

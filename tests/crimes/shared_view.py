"""What a shared pool hands out is written as a memoryview.

Exit: 1
Raises:
    TypeError: cannot modify read-only memory
"""

import pmalloc

pool = pmalloc.Pool("crime", backing="memfd")
pool.copy(b"genuine")
pool.protect(immutable=True)
pmalloc.open_shared(pool)[0][0] = 1

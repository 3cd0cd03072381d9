"""A rare write to what the same thread has open already.

Exit: 1
Stdout:
    b'as it was'
Raises: pmalloc.PmallocError: cannot rare-write this memoryview of pool 'crime': it, or a part \
    of it, is already open in this thread; what the outer block stages would be lost
"""

import pmalloc

pool = pmalloc.Pool("crime", mode="wr")
buffer = pool.copy(b"as it was")
pool.protect()
try:
    with pmalloc.rare_write(buffer) as outer:
        outer[0] = 0
        with pmalloc.rare_write(memoryview(buffer)[3:5]) as inner:
            inner[0] = 0
finally:
    print(bytes(buffer))

"""A rare write to ordinary memory.

Exit: 1
Stdout:
    b'as it was'
Raises: ValueError: cannot rare-write this memoryview: it shows ordinary memory; store into it
"""

import pmalloc

buffer = bytearray(b"as it was")
try:
    with pmalloc.rare_write(memoryview(buffer)) as staged:
        staged[0] = 0
finally:
    print(bytes(buffer))

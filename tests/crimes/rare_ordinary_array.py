"""A rare write to an array of ordinary memory.

Needs: numpy
Exit: 1
Stdout:
    b'1234'
Raises: ValueError: cannot rare-write this array: its data is ordinary memory; store into it, or \
    make it with Pool.ndarray() or Pool.copy_array()
"""

import numpy as np

import pmalloc

array = np.frombuffer(bytearray(b"1234"), "u1")
try:
    with pmalloc.rare_write(array) as staged:
        staged[0] = 0
finally:
    print(bytes(array))

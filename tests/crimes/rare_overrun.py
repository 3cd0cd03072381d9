"""A rare write through an array that reaches over its allocation's end.

Needs: numpy
Exit: 1
Raises: ValueError: cannot rare-write this array of pool 'crime': its 64 bytes at 0x* are not \
    within one allocation or object
"""

import numpy as np

import pmalloc

pool = pmalloc.Pool("crime", mode="wr")
array = pool.ndarray(16, "u1")
behind = pool.ndarray(16, "u1")
pool.protect()
wide = np.lib.stride_tricks.as_strided(array, shape=(64,), strides=(1,))
with pmalloc.rare_write(wide) as staged:
    staged[:] = 0xFF

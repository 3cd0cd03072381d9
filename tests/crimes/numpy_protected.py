"""NumPy allocates in a pool that was protected within the block.

Needs: numpy
Exit: 1
Raises:
    ProtectedError: cannot allocate an array in pool 'crime': it is protected, and there is no way \
        back; use a new pool, or leave `with pool.numpy()` before it is protected
"""

import numpy as np

import pmalloc

pool = pmalloc.Pool("crime")
with pool.numpy():
    array = np.arange(6.0)
    pool.protect()
    array * 2

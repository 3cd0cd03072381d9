"""A pool is destroyed while an array lives that NumPy allocated in it.

Needs: numpy
Exit: 1
Raises:
    BufferError: cannot destroy pool 'crime': 1 array(s) whose data lies in it are alive; drop \
        them, and views of them, first
"""

import numpy as np

import pmalloc

pool = pmalloc.Pool("crime")
with pool.numpy():
    array = np.arange(6.0)
pool.destroy()

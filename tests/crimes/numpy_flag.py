"""Somebody wants NumPy to write again to an array that it allocated in a pool.

Needs: numpy
Exit: 1
Raises: ValueError: cannot set WRITEABLE flag to True of this array
"""

import numpy as np

import pmalloc

pool = pmalloc.Pool("crime")
with pool.numpy():
    array = np.arange(6.0)
pool.protect()
array.flags.writeable = True

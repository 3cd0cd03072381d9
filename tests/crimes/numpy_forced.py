"""Somebody sets NumPy's own flag in an array's header, and NumPy writes.

Needs: numpy
Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 24 (size 48)
      thread       PID/PID 'python'
      instruction  0x* _multiarray_umath+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "numpy_forced.py", line {here} in <module>
"""

import numpy as np

import pmalloc

pool = pmalloc.Pool("crime")
with pool.numpy():
    array = np.arange(6.0)
pool.protect()
pmalloc._core.numpy_unlock([array])
array[3] = 1  # here

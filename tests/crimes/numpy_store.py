"""An array that NumPy allocated in a pool is written by a pointer.

Needs: numpy
Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 16 (size 80)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "numpy_store.py", line {here} in <module>
"""

import ctypes

import numpy as np

import pmalloc

pool = pmalloc.Pool("crime")
with pool.numpy():
    array = np.ones(10)
pool.protect()
assert not array.flags.writeable
ctypes.memset(array.ctypes.data + 16, 0xFF, 8)  # here

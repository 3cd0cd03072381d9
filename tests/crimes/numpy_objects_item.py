"""An item of an array of objects is overwritten where NumPy keeps it.

Needs: numpy
Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 8 (size 24)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "numpy_objects_item.py", line {here} in <module>
"""

import ctypes

import numpy as np

import pmalloc

pool = pmalloc.Pool("crime")
with pool.numpy():
    columns = np.array(["id", "name", "price"], object)
pool.protect()
ctypes.memset(columns.ctypes.data + 8, 0xFF, 8)  # here

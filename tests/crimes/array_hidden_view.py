"""A view that only an array of objects holds cannot be found by protect(), and is written.

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
      File "array_hidden_view.py", line {here} in <module>
"""

import numpy as np

import pmalloc

pool = pmalloc.Pool("crime")
hidden = np.empty(1, object)
hidden[0] = pool.ndarray((2, 3))[1:]
pool.protect()
hidden[0][0, 0] = 1  # here

"""A store into the value of a frozen float.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       float at 0x* + 16
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "float_store.py", line {here} in <module>
"""

import ctypes

import pmalloc

rate = pmalloc.freeze(0.19, name="crime")
ctypes.c_double.from_address(id(rate) + 16).value = 0.07  # here

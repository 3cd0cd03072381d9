"""A field of a ctypes structure is set after protect().

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 8 (size 16)
      thread       PID/PID 'python'
      instruction  0x* _ctypes+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "struct_field.py", line {here} in <module>
"""

import ctypes

import pmalloc


class Limits(ctypes.Structure):
    _fields_ = [("least", ctypes.c_int64), ("most", ctypes.c_int64)]


pool = pmalloc.Pool("crime")
limits = pool.struct(Limits, 1, most=10)
pool.protect()
limits.most = 1000  # here

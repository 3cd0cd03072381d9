"""A store to the slot of a Cell, that would exchange its object for another one.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       Cell at 0x* + 16
      path         crime
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "cell_store.py", line {here} in <module>
"""

import ctypes

import pmalloc

policy = pmalloc.Cell({"roles": ["admin"]}, name="crime")
forged = (ctypes.c_void_p * 4)()
slot = id(policy) + object.__basicsize__
ctypes.memmove(slot, ctypes.byref(ctypes.c_void_p(ctypes.addressof(forged))), 8)  # here

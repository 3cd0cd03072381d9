"""A store into a digit of a frozen big int.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       int at 0x* + 28
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "int_store.py", line {here} in <module>
"""

import ctypes

import pmalloc

number = pmalloc.freeze(10**100, name="crime")
ctypes.c_uint32.from_address(id(number) + int.__basicsize__ + 4).value = 1  # here

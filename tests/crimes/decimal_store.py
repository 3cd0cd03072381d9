"""A store over the digits of a frozen Decimal.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       Decimal at 0x* + #
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "decimal_store.py", line {here} in <module>
"""

import ctypes
from decimal import Decimal

import pmalloc

limit = pmalloc.freeze(Decimal(1234567), name="crime")
address = id(limit)
while ctypes.c_uint64.from_address(address).value != 1234567:
    address += 8
ctypes.c_uint64.from_address(address).value = 9999999  # here

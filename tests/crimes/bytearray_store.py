"""A store into a frozen bytearray, which is bytes now.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       bytes at 0x* + #
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <libc.so.6|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "bytearray_store.py", line {here} in <module>
"""

import ctypes

import pmalloc

key = pmalloc.freeze(bytearray(b"secret key"), name="crime")
ctypes.memmove(id(key) + bytes.__basicsize__ - 1, b"public", 6)  # here

"""A store into an item of a frozen tuple.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       tuple at 0x* + 32
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "tuple_item.py", line {here} in <module>
Stderr 3.14+:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       tuple at 0x* + 40
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "tuple_item.py", line {here} in <module>
"""

import ctypes

import pmalloc

row = pmalloc.freeze(("root", 0, "/bin/sh"), name="crime")
ctypes.py_object.from_address(id(row) + tuple.__basicsize__ + 8).value = 1000  # here

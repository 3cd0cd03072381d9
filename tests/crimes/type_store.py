"""A store over the type pointer of a frozen dict: type confusion.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenDict at 0x* + 8
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "type_store.py", line {here} in <module>
"""

import ctypes

import pmalloc

rights = pmalloc.freeze({"alice": "admin"}, name="crime")
ctypes.c_void_p.from_address(id(rights) + 8).value = id(list)  # here

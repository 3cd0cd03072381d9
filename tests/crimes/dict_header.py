"""A store into the header of a frozen dict: its number of items.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenDict at 0x* + 16
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "dict_header.py", line {here} in <module>
"""

import ctypes

import pmalloc

rights = pmalloc.freeze({"alice": "admin", "bob": "guest"}, name="crime")
ctypes.c_ssize_t.from_address(id(rights) + 16).value = 0  # here

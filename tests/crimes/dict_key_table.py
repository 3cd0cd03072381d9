"""A store into the key table of a frozen dict.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenDict at 0x* + 88
      path         crime
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "dict_key_table.py", line {here} in <module>
"""

import ctypes

import pmalloc

rights = pmalloc.freeze({"alice": "admin", "bob": "guest"}, name="crime")
table = ctypes.c_void_p.from_address(id(rights) + 32).value
ctypes.memset(table + 40, 0, 8)  # here

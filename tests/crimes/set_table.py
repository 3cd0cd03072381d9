"""A store into the table of a frozen set that outgrew the one in its header.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenSet at 0x* + 200
      path         crime
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "set_table.py", line {here} in <module>
"""

import ctypes

import pmalloc

allowed = pmalloc.freeze({"a", "b", "c", "d", "e", "f", "g", "h", "i"}, name="crime")
table = ctypes.c_void_p.from_address(id(allowed) + 40).value
ctypes.memset(table, 0, 8)  # here

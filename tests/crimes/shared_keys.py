"""A store into a key table that several frozen dicts share (3.13 and newer).

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'shared keys'
      address      0x* (pool 'shared keys', chunk 0, offset 0x*)
      object       str at 0x* + 88
      path         none (keys that dicts share)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "shared_keys.py", line {here} in <module>
Stderr 3.12:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenDict at 0x* + 88
      path         crime[0]
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "shared_keys.py", line {here} in <module>
"""

import ctypes

import pmalloc

rows = pmalloc.freeze([{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], name="crime")
table = ctypes.c_void_p.from_address(id(rows[0]) + 32).value
ctypes.memset(table + 40, 0, 8)  # here

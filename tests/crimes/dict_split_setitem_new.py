"""dict's own __setitem__ puts a new key into a record that shares its keys with another.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenDict at 0x* + #
      path         crime[1]
      thread       PID/PID 'python'
      instruction  0x* <libc.so.6|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "dict_split_setitem_new.py", line {here} in <module>
"""

import pmalloc

frozen = pmalloc.freeze([{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], name="crime")
dict.__setitem__(frozen[1], "admin", True)  # here

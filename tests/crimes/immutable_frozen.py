"""A frozen list of an immutable pool, appended to around its type.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + #
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <libc.so.6|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "immutable_frozen.py", line {here} in <module>
"""

import pmalloc

pool = pmalloc.Pool("crime", backing="memfd")
frozen = pool.freeze([1, 2, 3])
pool.protect(immutable=True)
list.append(frozen, 4)  # here

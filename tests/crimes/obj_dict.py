"""A frozen dict becomes an object's __dict__, and an attribute is set.

Exit: SIGSEGV
Stdout:
    False
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenDict at 0x* + #
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <libc.so.6|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "obj_dict.py", line {here} in <module>
"""

import pmalloc


class Config:
    pass


config = Config()
config.__dict__ = pmalloc.freeze({"debug": False}, name="crime")
print(config.debug)
config.debug = True  # here

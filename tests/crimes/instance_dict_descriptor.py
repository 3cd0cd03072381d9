"""The class's own descriptor gives a frozen instance's __dict__: 3.12 makes one to write to.

Exit: 1
Exit 3.12: SIGSEGV
Raises: TypeError: 'FrozenDict' object does not support item assignment
Raises 3.12:
Stderr 3.12:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       Config at 0x* - 24 (its GC header)
      thread       PID/PID 'python'
      instruction  0x* python+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "instance_dict_descriptor.py", line {here} in <module>
"""

import pmalloc


class Config:
    def __init__(self):
        self.debug = False
        self.hosts = ["alpha", "beta"]


config = pmalloc.freeze(Config(), name="crime")
Config.__dict__["__dict__"].__get__(config)["debug"] = True  # here

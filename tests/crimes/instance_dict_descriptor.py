"""The class's own descriptor has the interpreter make a __dict__ inside a frozen instance.

Exit: SIGSEGV
Exit 3.13: 1
Raises 3.13: TypeError: 'FrozenDict' object does not support item assignment
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       Config at 0x* - 24 (its __dict__; if C code read that: \
        pmalloc.register(..., linked_dict=True))
      path         crime
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

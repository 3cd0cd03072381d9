"""dict.__setitem__ on the __dict__ of a frozen instance.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       Config at 0x* + #
      path         crime
      thread       PID/PID 'python'
      instruction  0x* python+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "instance_dict_bypass.py", line {here} in <module>
"""

import pmalloc


class Config:
    def __init__(self):
        self.debug = False
        self.hosts = ["alpha", "beta"]


config = pmalloc.freeze(Config(), name="crime")
dict.__setitem__(vars(config), "debug", True)  # here

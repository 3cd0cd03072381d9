"""object.__delattr__ on a frozen instance: 3.12 refuses it where a class has its own.

Exit: SIGSEGV
Exit 3.12: 1
Raises 3.12: TypeError: can't apply this __delattr__ to Config object
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
      File "object_delattr.py", line {here} in <module>
"""

import pmalloc


class Config:
    def __init__(self):
        self.debug = False
        self.hosts = ["alpha", "beta"]


config = pmalloc.freeze(Config(), name="crime")
object.__delattr__(config, "debug")  # here

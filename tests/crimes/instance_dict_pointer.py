"""A store over a frozen instance's pointer to its __dict__.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       Config at 0x* - 24 (its __dict__; if C code read that: \
        pmalloc.register(..., linked_dict=True))
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "instance_dict_pointer.py", line {here} in <module>
"""

import ctypes

import pmalloc


class Config:
    def __init__(self):
        self.debug = False
        self.hosts = ["alpha", "beta"]


config = pmalloc.freeze(Config(), name="crime")
ctypes.c_void_p.from_address(id(config) - 24).value = id({})  # here

"""A store over an attribute of a frozen instance, wherever its class keeps it.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       Config at 0x* + #
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "instance_store.py", line {here} in <module>
"""

import ctypes

import pmalloc


class Config:
    def __init__(self):
        self.debug = False
        self.hosts = ["alpha", "beta"]


config = pmalloc.freeze(Config(), name="crime")

address = id(config)
while ctypes.c_void_p.from_address(address).value != id(config.hosts):
    address += 8
ctypes.c_void_p.from_address(address).value = id(["mallory"])  # here

"""A store over a field of a frozen dataclass with slots.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       Config at 0x* + 16
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "dataclass_store.py", line {here} in <module>
"""

import ctypes
import dataclasses

import pmalloc


@dataclasses.dataclass(slots=True, frozen=True)
class Config:
    debug: bool = False


config = pmalloc.freeze(Config(), name="crime")
ctypes.c_void_p.from_address(id(config) + object.__basicsize__).value = id(True)  # here

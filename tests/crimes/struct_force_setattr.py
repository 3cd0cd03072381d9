"""msgspec's own way round a Struct that is frozen.

Needs: msgspec
Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       Config at 0x* + 16
      path         crime
      thread       PID/PID 'python'
      instruction  0x* python+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "struct_force_setattr.py", line {here} in <module>
"""

import msgspec

import pmalloc


class Config(msgspec.Struct, frozen=True):
    debug: bool = False


config = pmalloc.freeze(Config(), name="crime")
msgspec.structs.force_setattr(config, "debug", True)  # here

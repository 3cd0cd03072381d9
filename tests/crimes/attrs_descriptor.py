"""The slot's own descriptor sets it in a frozen instance of an attrs class.

Needs: attrs
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
      File "attrs_descriptor.py", line {here} in <module>
"""

import attrs

import pmalloc


@attrs.frozen
class Config:
    debug: bool = False


config = pmalloc.freeze(Config(), name="crime")
Config.debug.__set__(config, True)  # here

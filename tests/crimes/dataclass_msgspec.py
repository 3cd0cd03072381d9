"""msgspec has the interpreter make a __dict__ inside a frozen dataclass.

Needs: msgspec
Exit: SIGSEGV
Exit 3.13: 0
Stdout 3.13:
    b'{"path":"/cart","weight":7}'
Stderr 3.13:
Stdout:
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       Route at 0x* - 24 (its __dict__; if C code read that: \
        pmalloc.register(..., linked_dict=True))
      path         crime
      thread       PID/PID 'python'
      instruction  0x* python+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "dataclass_msgspec.py", line {here} in <module>
"""

import dataclasses

import msgspec

import pmalloc


@dataclasses.dataclass
class Route:
    path: str
    weight: int


route = pmalloc.freeze(Route("/cart", 7), name="crime")
print(msgspec.json.encode(route), flush=True)  # here

"""A frozen UUID is given another state, as unpickling does.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       UUID at 0x* + #
      path         crime
      thread       PID/PID 'python'
      instruction  0x* python+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "uuid.py", line N in __setstate__
      File "uuid_setstate.py", line {here} in <module>
"""

import uuid

import pmalloc

user = pmalloc.freeze(uuid.UUID(int=5), name="crime")
user.__setstate__({"int": 7})  # here

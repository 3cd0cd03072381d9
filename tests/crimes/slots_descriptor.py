"""The slot's own descriptor sets it in a frozen instance.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       Rights at 0x* + #
      path         crime
      thread       PID/PID 'python'
      instruction  0x* python+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "slots_descriptor.py", line {here} in <module>
"""

import pmalloc


class Rights:
    __slots__ = ("role", "user")

    def __init__(self, user, role):
        self.user = user
        self.role = role


rights = pmalloc.freeze(Rights("alice", "guest"), name="crime")
Rights.role.__set__(rights, "admin")  # here

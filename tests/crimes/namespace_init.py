"""__init__ of a frozen namespace writes to its __dict__ behind everyone's back.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenDict at 0x* + #
      path         crime.__dict__
      thread       PID/PID 'python'
      instruction  0x* python+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "namespace_init.py", line {here} in <module>
"""

import types

import pmalloc

config = pmalloc.freeze(types.SimpleNamespace(debug=False), name="crime")
config.__init__(debug=True)  # here

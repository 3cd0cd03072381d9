"""dict.update of a frozen Counter.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       Counter at 0x* + #
      path         crime
      thread       PID/PID 'python'
      instruction  0x* python+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "counter_dict_update.py", line {here} in <module>
"""

import collections

import pmalloc

seen = pmalloc.freeze(collections.Counter("abc"), name="crime")
dict.update(seen, a=5000)  # here

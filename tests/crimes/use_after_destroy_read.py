"""A frozen list is read after its pool was destroyed.

Exit: SIGSEGV
Stderr:
    pmalloc: use after destroy of pool 'crime' (read)
      address      0x* (pool 'crime')
      object       none (destroyed)
      thread       PID/PID 'python'
      instruction  0x* python+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "use_after_destroy_read.py", line {here} in <module>
"""

import pmalloc

hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
pmalloc.pool_of(hosts).destroy(force=True)
len(hosts)  # here

"""The name of a destroyed pool lives on in a new one; the report still tells them apart.

Exit: SIGSEGV
Stdout:
    beta
Stderr:
    pmalloc: use after destroy of pool 'crime' (read)
      address      0x* (pool 'crime')
      object       none (destroyed)
      thread       PID/PID 'python'
      instruction  0x* python+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "use_after_destroy_reused_name.py", line {here} in <module>
"""

import pmalloc

old = pmalloc.freeze(["alpha"], name="crime")
pmalloc.pool_of(old).destroy(force=True)
new = pmalloc.freeze(["beta"], name="crime")
print(new[0])
print(old[0])  # here

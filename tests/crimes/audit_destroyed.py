"""`audit` is for live pools: one is written after its end.

Exit: SIGSEGV
Stderr:
    pmalloc: use after destroy of pool 'crime' (write)
      address      0x* (pool 'crime')
      object       none (destroyed)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "audit_destroyed.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", on_violation="audit")
address = pool.alloc(80).address
pool.protect()
pool.destroy()
ctypes.memset(address, 0xFF, 1)  # here

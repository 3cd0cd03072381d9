"""A buffer is written after its pool was destroyed.

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
      File "use_after_destroy_write.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime")
address = pool.alloc(100).address
pool.destroy()
ctypes.memset(address, 0, 8)  # here

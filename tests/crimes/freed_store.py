"""A store into an allocation that was freed before its pool was protected.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       none (free space)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "freed_store.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime")
pool.alloc(32)
stale = pool.alloc(64)
pool.alloc(32)
pool.free(stale)
pool.protect()
ctypes.memset(stale.address, 0, 8)  # here

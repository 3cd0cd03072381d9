"""A memset over a header starts where a reference count lies; it is not taken for one.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + 0
      path         crime
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "header_memset.py", line {here} in <module>
"""

import ctypes

import pmalloc

hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
ctypes.memset(id(hosts), 0, 16)  # here

"""A store into what leads from a Cell's slot to its object.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime@1'
      address      0x* (pool 'crime@1', chunk 0, offset 0x*)
      object       Version at 0x* + 16
      path         <Version at 0x*> (not below the pool's root)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "cell_descriptor_store.py", line {here} in <module>
"""

import ctypes

import pmalloc

policy = pmalloc.Cell({"roles": ["admin"]}, name="crime")
slot = id(policy) + object.__basicsize__
version = ctypes.c_void_p.from_address(slot).value
ctypes.memset(version + 16, 0, 8)  # here

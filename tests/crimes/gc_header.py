"""A store into the collector's header in front of a frozen list.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* - 16 (its GC header)
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "gc_header.py", line {here} in <module>
"""

import ctypes

import pmalloc

hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
ctypes.c_void_p.from_address(id(hosts) - 16).value = 1  # here

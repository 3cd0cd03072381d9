"""A C library writes; the report names its function.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + 16
      path         crime
      thread       PID/PID 'python'
      instruction  0x* library_store_lib.so+0x* (clear_words+0x*)
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "library_store.py", line {here} in <module>
"""

import ctypes
import sys

import pmalloc

library = ctypes.CDLL(f"{sys.argv[1]}/library_store_lib.so")
hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
library.clear_words(ctypes.c_void_p(id(hosts) + 16), 1)  # here

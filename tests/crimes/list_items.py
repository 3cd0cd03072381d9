"""A store into an item of a frozen list.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + 56
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "list_items.py", line {here} in <module>
"""

import ctypes

import pmalloc

hosts = pmalloc.freeze(["alpha", "beta", "gamma"], name="crime")
items = ctypes.c_void_p.from_address(id(hosts) + 24).value
ctypes.c_void_p.from_address(items + 16).value = id("mallory")  # here

"""A store of the value that is there already is a violation like any other.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + 16
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "same_value.py", line {here} in <module>
"""

import ctypes

import pmalloc

hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
length = ctypes.c_ssize_t.from_address(id(hosts) + 16)
length.value = length.value  # here

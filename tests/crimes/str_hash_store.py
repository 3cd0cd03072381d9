"""A store of a forged hash into a frozen str that is not ASCII.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       str at 0x* + 24
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "str_hash_store.py", line {here} in <module>
"""

import ctypes

import pmalloc

text = pmalloc.freeze("\N{GREEK SMALL LETTER PI} is irrational", name="crime")
ctypes.c_int64.from_address(id(text) + 24).value = 42  # here

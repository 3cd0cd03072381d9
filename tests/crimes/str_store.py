"""A store into the characters of a frozen str.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       str at 0x* + 44
      path         crime
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "str_store.py", line {here} in <module>
"""

import ctypes
import sys

import pmalloc

text = pmalloc.freeze("the quick brown fox", name="crime")
characters = id(text) + sys.getsizeof(text) - len(text) - 1
ctypes.memset(characters + 4, ord("Q"), 1)  # here

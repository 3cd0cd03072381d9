"""A store into frozen bytes.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       bytes at 0x* + 32
      path         crime
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "bytes_store.py", line {here} in <module>
"""

import ctypes

import pmalloc

key = pmalloc.freeze(b"0123456789abcdef", name="crime")
ctypes.memset(id(key) + bytes.__basicsize__ - 1, 0, 16)  # here

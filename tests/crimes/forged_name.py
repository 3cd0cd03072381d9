r"""A pool's name cannot forge lines of the report.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'\x0a  object       none\x1b[2J☃'
      address      0x* (pool 'crime'\x0a  object       none\x1b[2J☃', chunk 0, offset 0x*)
      object       FrozenList at 0x* + 16
      path         crime'\x0a  object       none\x1b[2J☃
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "forged_name.py", line {here} in <module>
"""

import ctypes

import pmalloc

hosts = pmalloc.freeze(["alpha"], name="crime'\n  object       none\x1b[2J\N{SNOWMAN}")
ctypes.memset(id(hosts) + 16, 0, 8)  # here

"""A Python handler for SIGSEGV was there first; it cannot run, and the process still dies.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + 16
      path         crime
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "signal_handler_before.py", line {here} in <module>
"""

import ctypes
import signal

import pmalloc

signal.signal(signal.SIGSEGV, lambda *_: print("not reached"))
hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
ctypes.memset(id(hosts) + 16, 0, 8)  # here

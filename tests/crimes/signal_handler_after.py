"""A Python handler for SIGSEGV came after: it would return to the same store for ever.

Exit: SIGSEGV
Within: 1 second
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + 16
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "signal_handler_after.py", line {here} in <module>
"""

import ctypes
import signal

import pmalloc

hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
signal.signal(signal.SIGSEGV, lambda *_: print("not reached"))
signal.alarm(1)
ctypes.memset(id(hosts) + 16, 0, 8)  # here

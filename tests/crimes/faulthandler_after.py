"""faulthandler was enabled after the pool was protected: it speaks before the report.

Exit: SIGSEGV
Within: 1 second
Stderr:
    Fatal Python error: Segmentation fault

    Current thread 0x* (most recent call first):
      File "faulthandler_after.py", line {here} in <module>

    Extension modules: pmalloc._core (total: 1)
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + 16
      path         crime
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "faulthandler_after.py", line {here} in <module>
"""

import ctypes
import faulthandler
import signal

import pmalloc

hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
faulthandler.enable()
signal.alarm(1)
ctypes.memset(id(hosts) + 16, 0, 8)  # here

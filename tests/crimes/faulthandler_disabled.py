"""faulthandler.disable() puts back what was there before it, not us: the next pool sees it.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + 16
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "faulthandler_disabled.py", line {here} in <module>
"""

import ctypes
import faulthandler

import pmalloc

faulthandler.enable()
hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
faulthandler.disable()
pmalloc.Pool("second")
ctypes.memset(id(hosts) + 16, 0, 8)  # here

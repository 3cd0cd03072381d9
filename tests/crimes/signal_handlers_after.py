"""One Python handler came before and several after, each asked what was there.

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
      File "signal_handlers_after.py", line {here} in <module>
"""

import ctypes
import signal

import pmalloc

signal.signal(signal.SIGSEGV, lambda *_: print("not reached"))
hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
for _ in range(10):
    before = signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    signal.signal(signal.SIGSEGV, before)
signal.alarm(1)
ctypes.memset(id(hosts) + 16, 0, 8)  # here

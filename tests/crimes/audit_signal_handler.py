"""`audit`: a Python signal handler writes.

Exit: 0
Stdout:
    1 ['handler', '<module>']
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 16 (size 80)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       audit
      Python stack of this thread:
    Stack (most recent call first):
      File "audit_signal_handler.py", line {here} in handler
      File "audit_signal_handler.py", line {raised} in <module>
"""

import ctypes
import signal

import pmalloc

pool = pmalloc.Pool("crime", on_violation="audit")
table = pool.alloc(80)
pool.protect()


def handler(number, frame):
    ctypes.memset(table.address + 16, 0xFF, 1)  # here


signal.signal(signal.SIGUSR1, handler)
signal.raise_signal(signal.SIGUSR1)  # raised
[violation] = pmalloc.violations()
print(violation.count, [frame.function for frame in violation.frames])

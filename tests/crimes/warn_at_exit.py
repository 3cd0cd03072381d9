"""`warn`: an atexit handler writes, and goes on.

Exit: 0
Stdout:
    255 True
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 16 (size 80)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       warn
      Python stack of this thread:
    Stack (most recent call first):
      File "warn_at_exit.py", line {here} in late
"""

import atexit
import ctypes
import warnings

import pmalloc

warnings.simplefilter("ignore")
pool = pmalloc.Pool("crime", on_violation="warn")
table = pool.alloc(80)
pool.protect()


@atexit.register
def late():
    ctypes.memset(table.address + 16, 0xFF, 1)  # here
    print(bytes(table)[16], pool.stats()["tainted"])

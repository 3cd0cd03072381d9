"""`oops`: an atexit handler writes.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 16 (size 80)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "oops_at_exit.py", line {here} in late
"""

import atexit
import ctypes

import pmalloc

pool = pmalloc.Pool("crime", on_violation="oops")
table = pool.alloc(80)
pool.protect()


@atexit.register
def late():
    ctypes.memset(table.address + 16, 0xFF, 1)  # here
    print(bytes(table)[16], pmalloc.violations()[0].count)

"""`warn`: a forked child writes: its page is open, the parent's is not.

Exit: 0
Stdout:
    255 True False
    0 False True
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 16 (size 80)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       warn
      Python stack of this thread:
    Stack (most recent call first):
      File "warn_in_child.py", line {here} in <module>
"""

import ctypes
import os
import warnings

import pmalloc

warnings.simplefilter("ignore")
pool = pmalloc.Pool("crime", on_violation="warn")
table = pool.alloc(80)
pool.protect()
child = os.fork()
if child == 0:
    ctypes.memset(table.address + 16, 0xFF, 1)  # here
    print(bytes(table)[16], pool.stats()["tainted"], pmalloc.is_protected(table))
    os._exit(0)
os.waitpid(child, 0)
print(bytes(table)[16], pool.stats()["tainted"], pmalloc.is_protected(table))

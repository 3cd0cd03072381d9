"""`audit`: a forked child writes; the parent's memory and log know nothing of it.

Exit: 0
Stdout:
    255 1
    0 0
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 16 (size 80)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       audit
      Python stack of this thread:
    Stack (most recent call first):
      File "audit_in_child.py", line {here} in <module>
"""

import ctypes
import os

import pmalloc

pool = pmalloc.Pool("crime", on_violation="audit")
table = pool.alloc(80)
pool.protect()
child = os.fork()
if child == 0:
    ctypes.memset(table.address + 16, 0xFF, 1)  # here
    print(bytes(table)[16], len(pmalloc.violations()))
    os._exit(0)
os.waitpid(child, 0)
print(bytes(table)[16], len(pmalloc.violations()))

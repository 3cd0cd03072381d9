"""A write in a forked child; the parent lives on and reads.

Exit: 0
Stdout:
    child died of signal 11
    alpha beta
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
      File "in_child.py", line {here} in <module>
"""

import ctypes
import os

import pmalloc

hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
child = os.fork()
if child == 0:
    ctypes.memset(id(hosts) + 16, 0, 8)  # here
    os._exit(0)
print("child died of signal", os.WTERMSIG(os.waitpid(child, 0)[1]))
print(*hosts)

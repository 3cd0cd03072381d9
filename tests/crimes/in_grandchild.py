"""A write in the forked child of a forked child.

Exit: 0
Stdout:
    grandchild died of signal 11
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
      File "in_grandchild.py", line {here} in <module>
"""

import ctypes
import os

import pmalloc

hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
child = os.fork()
if child == 0:
    grandchild = os.fork()
    if grandchild == 0:
        ctypes.memset(id(hosts) + 16, 0, 8)  # here
        os._exit(0)
    os._exit(os.WTERMSIG(os.waitpid(grandchild, 0)[1]))
print("grandchild died of signal", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

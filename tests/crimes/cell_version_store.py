"""A store into an old version of a Cell, through a part that newer ones share.

Exit: SIGSEGV
Stdout:
    3 ['admin']
Stderr:
    pmalloc: write to protected pool 'crime@1'
      address      0x* (pool 'crime@1', chunk 0, offset 0x*)
      object       FrozenList at 0x* + 16
      path         crime@1['roles']
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "cell_version_store.py", line {here} in <module>
"""

import ctypes

import pmalloc

policy = pmalloc.Cell({"roles": ["admin"], "n": 1}, name="crime")
policy.publish({**policy.get(), "n": 2})
policy.publish({**policy.get(), "n": 3})
print(policy.version, policy.get()["roles"])
ctypes.memset(id(policy.get()["roles"]) + 16, 0, 8)  # here

"""A store into an item of a frozen named tuple.

Exit: SIGSEGV
Stdout:
    User(name='alice', role='admin')
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       User at 0x* + #
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "namedtuple_store.py", line {here} in <module>
"""

import collections
import ctypes

import pmalloc

User = collections.namedtuple("User", "name role")  # noqa: PYI024
user = pmalloc.freeze(User("alice", "guest"), name="crime")
print(user._replace(role="admin"))
ctypes.py_object.from_address(id(user) + tuple.__basicsize__ + 8).value = "admin"  # here

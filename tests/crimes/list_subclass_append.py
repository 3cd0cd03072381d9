"""list.append on a frozen instance of a subclass of list.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       Stack at 0x* + #
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <libc.so.6|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "list_subclass_append.py", line {here} in <module>
"""

import pmalloc


class Stack(list):
    pass


stack = pmalloc.freeze(Stack(["alpha", "beta"]), name="crime")
list.append(stack, "mallory")  # here

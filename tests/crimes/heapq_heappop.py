"""heapq.heappop on a frozen list.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + #
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <libc.so.6|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "heapq_heappop.py", line {here} in <module>
"""

import heapq

import pmalloc

frozen = pmalloc.freeze([3, 5, 8], name="crime")
heapq.heappop(frozen)  # here

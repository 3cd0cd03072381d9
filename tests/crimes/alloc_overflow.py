"""A store that starts inside a buffer and runs off its end, into the guard page.

Exit: SIGSEGV
Stderr:
    pmalloc: guard page of pool 'crime' hit (write)
      address      0x* (pool 'crime', 0 bytes past the end of chunk 0)
      object       none (guard page)
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "alloc_overflow.py", line {here} in <module>
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", chunk_size=4096)
buffer = pool.alloc(4096)
behind = pmalloc.Pool("behind")
behind.alloc(4096)
ctypes.c_char.from_address(buffer.address + 4095).value = b"x"  # the pool is open: this is fine
for i in range(4090, 8192):
    ctypes.c_char.from_address(buffer.address + i).value = b"x"  # here

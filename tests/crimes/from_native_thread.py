"""A write from a thread that Python knows nothing of.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + 16
      path         crime
      thread       PID/TID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
"""

import ctypes

import pmalloc

hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
libc = ctypes.CDLL(None)
thread = ctypes.c_ulong()
# sigemptyset() as a thread's main function: it clears what its argument points to.
libc.pthread_create(ctypes.byref(thread), None, libc.sigemptyset, ctypes.c_void_p(id(hosts) + 16))
libc.pthread_join(thread, None)

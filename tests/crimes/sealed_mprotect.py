"""A sealed pool is to be made writable again: the kernel refuses, and the store is a violation.

Exit: SIGSEGV
Stdout:
    mprotect: Operation not permitted
    pkey_mprotect: Operation not permitted
    munmap: Operation not permitted
    mmap over it: Operation not permitted
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 0 (size 64)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "sealed_mprotect.py", line {here} in <module>
"""

import ctypes
import mmap
import os

import pmalloc

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
pool = pmalloc.Pool("crime")
buffer = pool.alloc(64)
pool.protect(seal=True)
page, size = ctypes.c_void_p(buffer.address & -mmap.PAGESIZE), ctypes.c_size_t(mmap.PAGESIZE)
for name, call in {
    "mprotect": lambda: libc.mprotect(page, size, 3),
    "pkey_mprotect": lambda: libc.pkey_mprotect(page, size, 3, -1),
    "munmap": lambda: libc.munmap(page, size),
    "mmap over it": lambda: libc.mmap(page, size, 3, 0x32, -1, ctypes.c_long(0)),
}.items():
    call()
    print(f"{name}: {os.strerror(ctypes.get_errno())}")
    ctypes.set_errno(0)
ctypes.memset(buffer.address, 0xFF, 1)  # here

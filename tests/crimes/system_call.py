"""A system call that would write into a pool fails with EFAULT and raises no signal.

Exit: 0
Stdout:
    -1 Bad address
    b'\x00\x00\x00\x00\x00\x00\x00'
"""

import ctypes
import os

import pmalloc

pool = pmalloc.Pool("crime")
buffer = pool.alloc(100)
pool.protect()
reader, writer = os.pipe()
os.write(writer, b"mallory")
libc = ctypes.CDLL(None, use_errno=True)
print(libc.read(reader, ctypes.c_void_p(buffer.address), 7), os.strerror(ctypes.get_errno()))
print(bytes(buffer)[:7])

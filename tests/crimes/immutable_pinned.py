"""Pages that somebody may still write, for they are in a pipe, are to become immutable.

Exit: 1
Raises:
    OSError: [Errno 16] cannot make immutable pool 'crime': somebody may still write its memory \
         (Device or resource busy): its pages are pinned (io_uring buffers, vmsplice, RDMA), or a \
         process that was forked while it was open maps it; the pool is open as before
"""

import ctypes
import mmap
import os

import pmalloc


class Span(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


pool = pmalloc.Pool("crime", backing="memfd")
buffer = pool.alloc(mmap.PAGESIZE, align=mmap.PAGESIZE)
reader, writer = os.pipe()
span = Span(buffer.address, mmap.PAGESIZE)
ctypes.CDLL(None).vmsplice(writer, ctypes.byref(span), ctypes.c_size_t(1), 0)
pool.protect(immutable=True)

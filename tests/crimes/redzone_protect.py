"""An overflow by one byte, a string's zero, while the pool is open: protect() finds it.

Exit: 1
Raises:
    pmalloc.CorruptionError: cannot protect pool 'crime': a redzone was hit: something wrote over \
        the end of the allocation of 100 bytes at 0x*, the first bad byte is at offset 100
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", redzones=True)
name = pool.alloc(100)
ctypes.memmove(name.address, b"n" * 100 + b"\0", 101)
pool.protect()

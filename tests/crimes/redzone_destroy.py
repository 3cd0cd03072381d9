"""A pool that is destroyed without ever being protected: its redzones are looked at, too.

Exit: 1
Raises:
    pmalloc.CorruptionError: cannot destroy pool 'crime': a redzone was hit: something wrote over \
        the end of the allocation of 16 bytes at 0x*, the first bad byte is at offset 20
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", redzones=True)
ctypes.memset(pool.alloc(16).address + 20, 0, 4)
pool.destroy()

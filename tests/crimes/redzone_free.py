"""Something writes in front of an allocation: free() finds it, and frees nothing.

Exit: 1
Raises:
    pmalloc.CorruptionError: cannot free from pool 'crime': a redzone was hit: something wrote in \
        front of the allocation of 64 bytes at 0x*, the first bad byte is at offset -8
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", redzones=True)
header = pool.alloc(64)
ctypes.memset(header.address - 8, 0, 8)
pool.free(header)

"""A link of the metadata that stays writable is overwritten, in a hardened pool.

Exit: 1
Raises:
    pmalloc.CorruptionError: cannot allocate from pool 'crime': a link of its writable metadata \
        was overwritten; something in this process wrote there: do not trust the pool
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", hardened=True)
# The C half of the pool: behind the header of the Pool object lies a pointer to it.
half = ctypes.c_void_p.from_address(id(pool) + object.__basicsize__).value
words = (ctypes.c_uint64 * 32).from_address(half)
before = list(words)
pool.alloc(100)
made = [n for n in range(32) if before[n] == 0 and words[n] > 1 << 32]  # pointers, since then
words[made[0]] = 0x123456789000
pool.alloc(100)

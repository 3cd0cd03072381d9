"""A link between pools is overwritten: root() does not follow it.

Exit: 1
Raises:
    pmalloc.CorruptionError: the metadata of pool 'first' is not what pmalloc wrote there: \
        something in this process forged it; do not trust its root
"""

import ctypes

import pmalloc

first = pmalloc.Pool("first", hardened=True)
first.freeze([1])
second = pmalloc.Pool("second", hardened=True)
pools = [
    ctypes.c_void_p.from_address(id(pool) + object.__basicsize__).value for pool in (first, second)
]
words = (ctypes.c_uint64 * 32).from_address(pools[1])
words[list(words).index(pools[0])] = 0x123456789000
pmalloc.root("first")

"""bisect.insort calls the list's own insert, and that refuses: no violation.

Exit: 1
Raises:
    TypeError: 'FrozenList' object is frozen: insert() would change it
"""

import bisect

import pmalloc

frozen = pmalloc.freeze([3, 5, 8], name="crime")
bisect.insort(frozen, 4)

"""A rare write to a constant.

Exit: 1
Raises: TypeError: rare_write() takes an Allocation, a NumPy array or a Record of a pool, not \
    bytes
"""

import pmalloc

with pmalloc.rare_write(b"constant") as staged:
    staged[0] = 0

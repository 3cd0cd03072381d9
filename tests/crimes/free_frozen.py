"""A frozen object is handed to free().

Exit: 1
Raises:
    TypeError: cannot free from pool 'crime': an Allocation is needed, not pmalloc.FrozenList
"""

import pmalloc

pool = pmalloc.Pool("crime")
pool.free(pool.freeze(["alpha"]))

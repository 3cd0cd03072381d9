"""A version of a Cell is retired while a newer one points into it.

Exit: 1
Raises:
    pmalloc.PmallocError: cannot retire version 1 of cell 'crime': version 2 still points into it; \
        retire that first; publish(..., compact=True) makes a version that points into no other
"""

import pmalloc

policy = pmalloc.Cell({"roles": ["admin"], "n": 1}, name="crime")
policy.publish({**policy.get(), "n": 2})
policy.retire(1, force=True)

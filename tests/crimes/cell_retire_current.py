"""The current version of a Cell is retired.

Exit: 1
Raises:
    pmalloc.PmallocError: cannot retire version 2 of cell 'crime': it is the current one; publish \
        another one first
"""

import pmalloc

policy = pmalloc.Cell(["admin"], name="crime")
policy.publish(["operator"])
policy.retire(2, force=True)

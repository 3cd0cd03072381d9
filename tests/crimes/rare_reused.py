"""One rare_write() in two with-statements.

Exit: 1
Raises: pmalloc.PmallocError: a rare_write() is for one with-statement: call it again
"""

import pmalloc

pool = pmalloc.Pool("crime", mode="wr")
buffer = pool.copy(b"as it was")
writing = pmalloc.rare_write(buffer)
with writing as staged:
    staged[0] = 0
with writing as staged:
    staged[1] = 0

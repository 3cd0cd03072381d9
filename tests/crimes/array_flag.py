"""Somebody wants an array of a protected pool writeable again.

Exit: 1
Raises:
    ValueError: cannot set WRITEABLE flag to True of this array
"""

import pmalloc

pool = pmalloc.Pool("crime")
array = pool.ndarray((2, 3))
pool.protect()
array.flags.writeable = True

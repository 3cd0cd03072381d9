"""A Cell is to lead to what can still be written.

Exit: 1
Raises:
    pmalloc.PmallocError: cannot publish in cell 'crime': a part of the object lies in pool \
        'elsewhere', which is open; protect it first
"""

import pmalloc

policy = pmalloc.Cell([], name="crime")
policy.publish([pmalloc.Pool("elsewhere").freeze(["admin"])])

"""A dict that was registered is assigned to after the end of init.

Exit: 1
Raises:
    TypeError: 'FrozenDict' object does not support item assignment
"""

import pmalloc

ROUTES = pmalloc.ro_after_init({"/": "index"}, name="routes")
pmalloc.mark_rodata_ro()
ROUTES["/"] = "evil"

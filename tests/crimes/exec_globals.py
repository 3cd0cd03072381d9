"""Code run with a frozen dict as its globals assigns a name.

Exit: 1
Raises:
    TypeError: 'FrozenDict' object does not support item assignment
"""

import pmalloc

frozen = pmalloc.freeze({"limit": 10, "__builtins__": {}}, name="crime")
exec("limit = 20", frozen)

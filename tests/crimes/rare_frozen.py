"""A rare write to a frozen dict.

Exit: 1
Raises: TypeError: cannot rare-write a pmalloc.FrozenDict: frozen objects do not change, but for \
    Records; freeze a new version, and publish it in a Cell
"""

import pmalloc

config = pmalloc.freeze({"debug": False}, name="crime")
with pmalloc.rare_write(config) as staged:
    staged["debug"] = True

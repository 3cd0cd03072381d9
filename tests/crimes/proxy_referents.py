"""The dict behind a frozen mappingproxy, as the garbage collector gives it away.

Exit: 1
Raises: TypeError: 'FrozenDict' object does not support item assignment
"""

import gc
import types

import pmalloc

rights = pmalloc.freeze(types.MappingProxyType({"alice": "guest"}), name="crime")
gc.get_referents(rights)[0]["alice"] = "admin"

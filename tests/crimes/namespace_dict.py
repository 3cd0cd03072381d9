"""The __dict__ of a frozen namespace.

Exit: 1
Raises: TypeError: 'FrozenDict' object does not support item assignment
"""

import types

import pmalloc

config = pmalloc.freeze(types.SimpleNamespace(debug=False), name="crime")
config.__dict__["debug"] = True

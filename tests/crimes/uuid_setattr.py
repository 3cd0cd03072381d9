"""Setting an attribute of a frozen UUID: it keeps its class, which refuses by itself.

Exit: 1
Raises: TypeError: UUID objects are immutable
"""

import uuid

import pmalloc

user = pmalloc.freeze(uuid.UUID(int=5), name="crime")
user.int = 7

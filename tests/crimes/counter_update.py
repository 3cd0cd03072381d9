"""Counter.update of a frozen Counter.

Exit: 1
Raises: TypeError: 'Counter' object is frozen: update() would change it
"""

import collections

import pmalloc

seen = pmalloc.freeze(collections.Counter("abc"), name="crime")
seen.update("a")

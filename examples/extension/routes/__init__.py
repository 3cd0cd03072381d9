"""An example: a C extension that keeps its table in a pool of pmalloc."""

import pmalloc  # first: the extension is given the library that pmalloc has loaded

from ._routes import Table, owns

__all__ = ["Table", "owns", "pmalloc"]

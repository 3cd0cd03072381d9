"""A word for PMALLOC_RODATA that is none.

Exit: 1
Raises: ImportError: PMALLOC_RODATA is 'permissive'; it takes oops, warn, audit or off: set it \
        to one of these, or not at all
"""

import os

os.environ["PMALLOC_RODATA"] = "permissive"
import pmalloc  # noqa: F401

"""PMALLOC_RODATA=off has the last word.

Exit: 0
Stdout:
    255 sealed off
"""

import ctypes
import os

os.environ["PMALLOC_RODATA"] = "off"
import pmalloc

pool = pmalloc.Pool("crime", on_violation="oops")
table = pool.alloc(80)
pool.protect(seal=True)
ctypes.memset(table.address + 16, 0xFF, 1)
print(bytes(table)[16], pool.state, pool.stats()["policy"])

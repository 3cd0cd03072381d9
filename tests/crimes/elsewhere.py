"""A fault outside every pool passes on: no report.

Exit: SIGSEGV
"""

import ctypes

import pmalloc

hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
ctypes.memset(8, 0, 8)

"""A fault outside every pool reaches faulthandler, which was there before: no report.

Exit: SIGSEGV
Stderr:
    Fatal Python error: Segmentation fault

    Current thread 0x* (most recent call first):
      File "elsewhere_faulthandler.py", line {here} in <module>

    Extension modules: pmalloc._core (total: 1)
"""

import ctypes
import faulthandler

import pmalloc

faulthandler.enable()
hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
ctypes.memset(8, 0, 8)  # here

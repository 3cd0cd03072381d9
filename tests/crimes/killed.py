"""SIGSEGV sent by kill() is no violation: no report.

Exit: SIGSEGV
"""

import os
import signal

import pmalloc

hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
os.kill(os.getpid(), signal.SIGSEGV)

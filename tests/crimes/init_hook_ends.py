"""A hook of the end of init ends init.

Exit: 1
Stderr:
    init is over, but not all could be done (1 sub-exception)
    cannot end init: this thread is ending it; a hook cannot
"""

import sys

import pmalloc

pmalloc.before_mark_rodata_ro(pmalloc.mark_rodata_ro)
try:
    pmalloc.mark_rodata_ro()
except pmalloc.InitFailures as failures:
    sys.exit(f"{failures}\n{failures.exceptions[0]}")

"""A module that is init altogether is imported after the end.

Exit: 1
Raises:
    pmalloc.InitError: cannot register module __main__ for module __main__: init is over; import \
        the module before pmalloc.mark_rodata_ro(), or in a block `with pmalloc.late_init(...):`
"""

import sys

import pmalloc

pmalloc.mark_rodata_ro()
pmalloc.init(sys.modules[__name__])
print("never printed")

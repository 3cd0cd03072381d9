"""Data is registered after the end of init.

Exit: 1
Raises:
    pmalloc.InitError: cannot register 'routes' for module __main__: init is over; import the \
        module before pmalloc.mark_rodata_ro(), or in a block `with pmalloc.late_init(...):`
"""

import pmalloc

pmalloc.mark_rodata_ro()
pmalloc.ro_after_init({}, name="routes")

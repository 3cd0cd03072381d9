"""An init function is called after the end of init.

Exit: 1
Raises:
    pmalloc.InitError: cannot call __main__.load_routes(): it is an init function, and init is \
        over; do it before pmalloc.mark_rodata_ro(), or take @pmalloc.init off
"""

import pmalloc


@pmalloc.init
def load_routes():
    print("never printed")


pmalloc.mark_rodata_ro()
load_routes()

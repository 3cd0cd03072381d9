"""An instance of an init class is made after the end of init.

Exit: 1
Raises:
    pmalloc.InitError: cannot make an instance of __main__.Loader: it is an init class, and init \
        is over; do it before pmalloc.mark_rodata_ro(), or take @pmalloc.init off
"""

import pmalloc


@pmalloc.init
class Loader:
    def __init__(self):
        print("never printed")


pmalloc.mark_rodata_ro()
Loader()

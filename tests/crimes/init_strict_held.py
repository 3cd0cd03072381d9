"""Init is to end strictly, and somebody holds what is to be copied into the pool.

Exit: 1
Raises:
    pmalloc.InitError: cannot end init strictly: global['settings']['roles']: variable ROLES of \
        module __main__; nothing was changed, and it goes on
"""

import pmalloc

ROLES = ["admin"]
SETTINGS = pmalloc.ro_after_init({"roles": ROLES}, name="settings")
pmalloc.mark_rodata_ro(strict=True)

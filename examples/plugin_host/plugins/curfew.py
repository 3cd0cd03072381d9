"""A late plugin, with data of its own: they go into the pool of its own init phase."""

import pmalloc
from plugin_host.host import hook

CURFEW = pmalloc.ro_after_init({"users": ["bob"], "paths": []}, name="curfew")


@pmalloc.init(drop=True)  # its code is given back, as that of a module of the kernel is
def add(path):
    CURFEW["paths"].append(path)


add("/srv/ledger")


@hook(tryfirst=True)  # among the late ones
def authorize(user, path):
    if user in CURFEW["users"] and path in CURFEW["paths"]:
        return "come back in the morning"
    return None

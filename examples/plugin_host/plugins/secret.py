"""A fixed plugin: what nobody may write, whatever the roles say; and a count of refusals."""

import pmalloc
from plugin_host.host import hook

PATHS = pmalloc.ro_after_init(["/etc/shadow", "/etc/sudoers"], name="secret")
refusals = 0  # ordinary data of an ordinary module


@hook
def authorize(action, path):
    if action == "write" and path in PATHS:
        return f"nobody writes {path}"
    return None


@hook
def decided(refusal):
    global refusals
    refusals += refusal is not None

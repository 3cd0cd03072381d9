"""A fixed plugin: who may do what."""

import pmalloc
from plugin_host.host import hook

ROLES = pmalloc.ro_after_init(
    {"alice": ["read", "write"], "bob": ["read"], "root": ["read", "write", "unload"]}, name="roles"
)


@hook
def authorize(user, action):
    if action not in ROLES.get(user, ()):
        return f"{user} may not {action}"
    return None

"""A member of an Enum lies outside: who changes it changes it for frozen data, too.

Exit: 0
Stdout:
    admin False
"""

import enum

import pmalloc


class Role(enum.Enum):
    GUEST = 1


rights = pmalloc.freeze({"mallory": Role.GUEST}, name="crime")
Role.GUEST.note = "admin"
print(rights["mallory"].note, pmalloc.is_protected(rights["mallory"]))

"""Setting a field of a frozen dataclass.

Exit: 1
Raises:
    dataclasses.FrozenInstanceError: cannot set attribute 'debug': 'Config' object is frozen \
        in pool 'crime'
"""

import dataclasses

import pmalloc


@dataclasses.dataclass
class Config:
    debug: bool = False


config = pmalloc.freeze(Config(), name="crime")
config.debug = True

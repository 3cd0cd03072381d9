"""Setting a field of a frozen Struct of msgspec.

Needs: msgspec
Exit: 1
Raises: AttributeError: cannot set attribute 'debug': 'Config' object is frozen in pool 'crime'
"""

import msgspec

import pmalloc


class Config(msgspec.Struct):
    debug: bool = False


config = pmalloc.freeze(Config(), name="crime")
config.debug = True

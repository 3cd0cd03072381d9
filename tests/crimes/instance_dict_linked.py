"""A linked __dict__ is found by the interpreter and refuses to be changed.

Exit: 1
Raises: TypeError: 'FrozenDict' object does not support item assignment
"""

import pmalloc


class Config:
    def __init__(self):
        self.debug = False
        self.hosts = ["alpha", "beta"]


pmalloc.register(Config, linked_dict=True)
config = pmalloc.freeze(Config(), name="crime")
Config.__dict__["__dict__"].__get__(config)["debug"] = True

"""A weak reference to a frozen instance would be written into it.

Exit: 1
Raises: TypeError: cannot create weak reference to 'Config' object
"""

import weakref

import pmalloc


class Config:
    def __init__(self):
        self.debug = False
        self.hosts = ["alpha", "beta"]


config = pmalloc.freeze(Config(), name="crime")
weakref.ref(config)

"""Another class for a frozen instance.

Exit: 1
Raises:
    AttributeError: cannot set attribute '__class__': 'Config' object is frozen in pool 'crime'
"""

import pmalloc


class Config:
    def __init__(self):
        self.debug = False
        self.hosts = ["alpha", "beta"]


config = pmalloc.freeze(Config(), name="crime")


class Mallory(Config):
    pass


config.__class__ = Mallory

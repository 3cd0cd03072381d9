"""A new __dict__ for a frozen instance.

Exit: 1
Raises:
    AttributeError: cannot set attribute '__dict__': 'Config' object is frozen in pool 'crime'
"""

import pmalloc


class Config:
    def __init__(self):
        self.debug = False
        self.hosts = ["alpha", "beta"]


config = pmalloc.freeze(Config(), name="crime")
config.__dict__ = {"debug": True}

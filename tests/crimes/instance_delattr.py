"""Deleting an attribute of a frozen instance.

Exit: 1
Raises:
    AttributeError: cannot delete attribute 'hosts': 'Config' object is frozen in pool 'crime'
"""

import pmalloc


class Config:
    def __init__(self):
        self.debug = False
        self.hosts = ["alpha", "beta"]


config = pmalloc.freeze(Config(), name="crime")
del config.hosts

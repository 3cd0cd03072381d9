"""Setting an attribute that a frozen instance has not.

Exit: 1
Raises:
    AttributeError: cannot set attribute 'mallory': 'Config' object is frozen in pool 'crime'
"""

import pmalloc


class Config:
    def __init__(self):
        self.debug = False
        self.hosts = ["alpha", "beta"]


config = pmalloc.freeze(Config(), name="crime")
setattr(config, "mallory", True)

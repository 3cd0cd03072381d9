"""vars(x)[...] = of a frozen instance.

Exit: 1
Raises: TypeError: 'FrozenDict' object does not support item assignment
"""

import pmalloc


class Config:
    def __init__(self):
        self.debug = False
        self.hosts = ["alpha", "beta"]


config = pmalloc.freeze(Config(), name="crime")
vars(config)["debug"] = True

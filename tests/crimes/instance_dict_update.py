"""x.__dict__.update() of a frozen instance.

Exit: 1
Raises: TypeError: 'FrozenDict' object is frozen: update() would change it
"""

import pmalloc


class Config:
    def __init__(self):
        self.debug = False
        self.hosts = ["alpha", "beta"]


config = pmalloc.freeze(Config(), name="crime")
config.__dict__.update(debug=True)

"""__setstate__ of a frozen instance, as unpickling calls it.

Exit: 1
Raises: TypeError: 'FrozenDict' object is frozen: |= would change it
"""

import pmalloc


class Config:
    def __init__(self):
        self.debug = False

    def __setstate__(self, state):
        self.__dict__ |= state


config = pmalloc.freeze(Config(), name="crime")
config.__setstate__({"debug": True})

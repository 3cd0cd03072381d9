"""Classes lie outside: who changes the class changes what is read of frozen instances.

Exit: 0
Stdout:
    True False
"""

import pmalloc


class Config:
    def __init__(self):
        self.debug = False
        self.hosts = ["alpha", "beta"]


config = pmalloc.freeze(Config(), name="crime")
Config.debug = property(lambda self: True)
print(config.debug, vars(config)["debug"])

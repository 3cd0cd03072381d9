"""A frozen instance goes through pickle: what comes out can be changed.

Exit: 0
Stdout:
    {'debug': True, 'hosts': ['alpha', 'beta', 'mallory']} \
        {'debug': False, 'hosts': ['alpha', 'beta']}
"""

import pickle

import pmalloc


class Config:
    def __init__(self):
        self.debug = False
        self.hosts = ["alpha", "beta"]


config = pmalloc.freeze(Config(), name="crime")
loaded = pickle.loads(pickle.dumps(config))
loaded.debug = True
loaded.hosts.append("mallory")
print(vars(loaded), vars(config))

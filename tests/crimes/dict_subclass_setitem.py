"""Item assignment to a frozen instance of a subclass of dict.

Exit: 1
Raises: TypeError: 'Config' object is frozen: __setitem__ would change it
"""

import pmalloc


class Config(dict):
    pass


config = pmalloc.freeze(Config(debug=False), name="crime")
config["debug"] = True

"""move_to_end on a frozen OrderedDict: it is a FrozenDict now.

Exit: 1
Raises:
    TypeError: descriptor 'move_to_end' for 'collections.OrderedDict' objects doesn't apply to a \
        'pmalloc.FrozenDict' object
"""

import collections

import pmalloc

order = pmalloc.freeze(collections.OrderedDict(a=1, b=2), name="crime")
collections.OrderedDict.move_to_end(order, "a")

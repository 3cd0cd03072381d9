"""A version of a Cell is retired while a list refers to it.

Exit: 1
Raises:
    pmalloc.PmallocError: cannot retire version 1 of cell 'crime': a search found # words in \
        ordinary memory that lead into it; if surely nobody follows them, pass force=True: \
        FrozenDict at 0x* from 0x* (list)
"""

import pmalloc

policy = pmalloc.Cell({"roles": ["admin"], "n": 1}, name="crime")
held = [policy.get()]
policy.publish({"n": 2})
policy.retire(1)

"""A pool with frozen objects in it is destroyed without force.

Exit: 1
Raises:
    pmalloc.PmallocError: cannot destroy pool 'crime': 3 frozen objects live in it, and nothing \
        counts who still uses them; a search found # words that lead to them, references() names \
        them; if surely nobody does, pass force=True
"""

import pmalloc

hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
pmalloc.pool_of(hosts).destroy()

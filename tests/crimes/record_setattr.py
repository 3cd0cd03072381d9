"""Assigning to a field of a Record in a protected pool.

Exit: 1
Raises: pmalloc.ProtectedError: cannot assign to Switches.limit: pool 'crime' is protected; use \
    pmalloc.rare_write()
"""

import pmalloc


class Switches(pmalloc.Record):
    enabled: bool = True
    limit: pmalloc.u32 = 100


pool = pmalloc.Pool("crime", mode="wr")
switches = pool.new(Switches)
pool.protect()
switches.limit = 500

"""Going round a Record's own way to assign: by object.__setattr__, and by the descriptor.

Exit: 1
Stdout:
    100
    100
Raises: pmalloc.ProtectedError: cannot delete Switches.limit: pool 'crime' is protected; use \
    pmalloc.rare_write()
"""

import pmalloc


class Switches(pmalloc.Record):
    enabled: bool = True
    limit: pmalloc.u32 = 100


pool = pmalloc.Pool("crime", mode="start_wr")
switches = pool.new(Switches)
for way in (object.__setattr__, lambda record, _, value: Switches.limit.__set__(record, value)):
    try:
        way(switches, "limit", 500)
    except pmalloc.ProtectedError:
        print(switches.limit)
object.__delattr__(switches, "limit")

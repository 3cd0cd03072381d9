"""An exception in the block of a rare write: nothing is stored.

Exit: 1
Stdout:
    100
Raises: OverflowError: Switches.limit takes 0 to 4294967295, not -1
"""

import pmalloc


class Switches(pmalloc.Record):
    enabled: bool = True
    limit: pmalloc.u32 = 100


pool = pmalloc.Pool("crime", mode="wr")
switches = pool.new(Switches)
pool.protect()
try:
    with pmalloc.rare_write(switches) as staged:
        staged.limit = 500
        staged.limit = -1
finally:
    print(switches.limit)

"""Turning a Record into one of another class, whose fields lie elsewhere.

Exit: 1
Raises: TypeError: __class__ assignment only supported for mutable types or ModuleType \
    subclasses
"""

import pmalloc


class Switches(pmalloc.Record):
    enabled: bool = True
    limit: pmalloc.u32 = 100


class Other(pmalloc.Record):
    secret: pmalloc.u64
    more: pmalloc.u64
    still_more: pmalloc.u64


pool = pmalloc.Pool("crime", mode="wr")
switches = pool.new(Switches)
pool.protect()
switches.__class__ = Other

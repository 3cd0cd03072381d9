"""A rare write to a Record in ordinary memory.

Exit: 1
Raises: ValueError: cannot rare-write this record: it lies in ordinary memory; assign to its \
    fields, or make it with Pool.new()
"""

import pmalloc


class Switches(pmalloc.Record):
    limit: pmalloc.u32 = 100


with pmalloc.rare_write(Switches()) as staged:
    staged.limit = 500

"""What a type checker must refuse: each line that ends in `# error`, and no other."""

import pmalloc

pool = pmalloc.Pool()  # error
pmalloc.Pool(b"bytes")  # error
pmalloc.Pool("name", 4096)  # error
allocation = pmalloc.Pool("name").alloc("many")  # error
pmalloc.Pool("name").state = "open"  # error
pmalloc.Pool("name").unprotect()  # error
pmalloc.Pool("name", backing="shm")  # error
pmalloc.Pool("name").protect(True, True)  # error
pmalloc.Pool("name").copy("text")  # error
pmalloc.open_shared("path")  # error
pmalloc.freeze([1], "name")  # error
pmalloc.root(1)  # error


class Switches(pmalloc.Record):
    limit: pmalloc.u32 = "many"  # error
    enabled: bool


switches = pmalloc.Pool("name", mode="rw").new(Switches)  # error
switches.limit = "few"  # error
with pmalloc.rare_write(switches) as staged:
    staged.enabled = None  # error
    staged.unknown = 1  # error
pmalloc.rare_write({})  # error
pmalloc.Pool("name").new(dict)  # error
pmalloc.size("3")  # error
pmalloc.log_rare_writes(3)  # error
pmalloc.Cell()  # error
pmalloc.Cell([1], "name")  # error
pmalloc.Cell([1]).publish("text")  # error
pmalloc.Cell([1]).publish([2], True)  # error
pmalloc.Cell([1]).version = 2  # error
pmalloc.Cell([1]).retire("1")  # error
pmalloc.Cell([1]).on_publish(print, 1)  # error

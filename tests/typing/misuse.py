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

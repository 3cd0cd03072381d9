"""A file that its maker can still change is opened as a shared pool.

Exit: 1
Raises:
    pmalloc.PmallocError: cannot open descriptor 3 as a shared pool: the file can still be \
         changed; ask its owner to protect(immutable=True), or pass verify=False if you trust \
         whoever can write it
"""

import os

import pmalloc

fd = os.memfd_create("not a pool")
os.dup2(fd, 3)
os.truncate(3, 1 << 20)
pmalloc.open_shared(3)

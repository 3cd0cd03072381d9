"""A child allocates from a memfd pool that was open when it was forked: its parent would, too.

Exit: 1
Raises:
    pmalloc.PmallocError: cannot allocate from pool 'crime': it was open when this process was \
         forked, and its memory is the parent's too; only the process that made it may fill it
"""

import os
import sys

import pmalloc

pool = pmalloc.Pool("crime", backing="memfd")
pool.alloc(100)
if os.fork() == 0:
    pool.alloc(100)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))

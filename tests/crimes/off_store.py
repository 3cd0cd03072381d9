"""`off`: nothing is protected, and nothing is said.

Exit: 0
Stdout:
    255 protected False False
    and yet protected, as far as honest code can see
"""

import ctypes

import pmalloc

pool = pmalloc.Pool("crime", on_violation="off")
table = pool.alloc(80)
hosts = pool.freeze(["alpha", "beta"])
pool.protect()
ctypes.memset(table.address + 16, 0xFF, 1)
print(bytes(table)[16], pool.state, pmalloc.is_protected(table), pmalloc.is_protected(hosts))
try:
    pool.alloc(1)
except pmalloc.ProtectedError:
    print("and yet protected, as far as honest code can see")

"""A store over the year of a frozen datetime.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       datetime at 0x* + #
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "datetime_store.py", line {here} in <module>
"""

import ctypes
from datetime import UTC, datetime

import pmalloc

expires = pmalloc.freeze(datetime(2026, 1, 1, tzinfo=UTC), name="crime")
for address in range(
    id(expires), id(expires) + datetime.__basicsize__
):  # its fields begin with the year
    if ctypes.string_at(address, 2) == (2026).to_bytes(2, "big"):
        ctypes.c_uint16.from_address(address).value = 2099  # here

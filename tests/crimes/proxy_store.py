"""A store over the dict that a frozen mappingproxy shows.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       mappingproxy at 0x* + 16
      path         crime
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "proxy_store.py", line {here} in <module>
"""

import ctypes
import types

import pmalloc

rights = pmalloc.freeze(types.MappingProxyType({"alice": "guest"}), name="crime")
ctypes.c_void_p.from_address(id(rights) + object.__basicsize__).value = id({})  # here

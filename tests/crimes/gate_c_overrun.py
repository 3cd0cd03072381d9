"""A rare write over the end of a variable of a C extension, after the end of init.

Needs: setuptools
Exit: 0
Stdout:
    refused: it reaches beyond an allocation or an object
    100
Stderr:
    pmalloc: rare write of 5 bytes refused: it reaches beyond an allocation or an object
      address      0x* (static data 'gate_c.so, __wr_after_init', offset 0x*)
      object       symbol 'limit' at 0x* + 0 (size 4)
      reason       it does not end where the variable does
      thread       PID/PID 'python'
      caller       0x* gate_c+0x*
"""

import sys

import pmalloc

sys.path.insert(0, f"{sys.argv[1]}/c")
import gate_c

pmalloc.mark_rodata_ro()
try:
    gate_c.overrun()
except PermissionError as error:
    print(error)
print(gate_c.limit())

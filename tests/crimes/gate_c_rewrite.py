"""A rare write to what is read-only, in a C extension, after the end of init.

Needs: setuptools
Exit: 0
Stdout:
    refused: it is not write-rare memory
    100
Stderr:
    pmalloc: rare write of 72 bytes refused: it is not write-rare memory
      address      0x* (static data 'gate_c.so, __ro_after_init', offset 0x*)
      object       symbol 'hooks' at 0x* + 0 (size 72)
      reason       the variable is __ro_after_init
      thread       PID/PID 'python'
      caller       0x* gate_c+0x*
"""

import sys

import pmalloc

sys.path.insert(0, f"{sys.argv[1]}/c")
import gate_c

pmalloc.mark_rodata_ro()
try:
    gate_c.rewrite_hooks()
except PermissionError as error:
    print(error)
print(gate_c.limit())

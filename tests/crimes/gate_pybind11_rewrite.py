"""A rare write to what is read-only, in a pybind11 module, after the end of init.

Needs: pybind11
Exit: 0
Stdout:
    refused: it is not write-rare memory
    100
Stderr:
    pmalloc: rare write of 72 bytes refused: it is not write-rare memory
      address      0x* (static data 'gate_pybind11.so, __ro_after_init', offset 0x*)
      object       symbol '(anonymous namespace)::hooks' at 0x* + 0 (size 72)
      reason       the variable is __ro_after_init
      thread       PID/PID 'python'
      caller       0x* gate_pybind11+0x*
"""

import sys

import pmalloc

sys.path.insert(0, f"{sys.argv[1]}/pybind11")
import gate_pybind11

pmalloc.mark_rodata_ro()
try:
    gate_pybind11.rewrite_hooks()
except PermissionError as error:
    print(error)
print(gate_pybind11.limit())

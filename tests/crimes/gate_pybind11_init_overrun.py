"""A rare write over the end of a variable of a pybind11 module, before the end of init.

Needs: pybind11
Exit: 0
Stdout:
    refused: it reaches beyond an allocation or an object
    100
Stderr:
    pmalloc: rare write of 5 bytes refused: it reaches beyond an allocation or an object
      address      0x* (static data 'gate_pybind11.so, __wr_after_init', offset 0x*)
      object       symbol '(anonymous namespace)::limit' at 0x* + 0 (size 4)
      reason       it does not end where the variable does
      thread       PID/PID 'python'
      caller       0x* gate_pybind11+0x*
"""

import sys

import pmalloc  # noqa: F401 - it brings the library

sys.path.insert(0, f"{sys.argv[1]}/pybind11")
import gate_pybind11

try:
    gate_pybind11.overrun()
except PermissionError as error:
    print(error)
print(gate_pybind11.limit())

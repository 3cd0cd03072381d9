"""A hook of a pybind11 module, added after the end of init.

Needs: pybind11
Exit: SIGSEGV
Stderr:
    pmalloc: write to protected static data 'gate_pybind11.so, __ro_after_init'
      address      0x* (static data 'gate_pybind11.so, __ro_after_init', offset 0x*)
      object       symbol '(anonymous namespace)::hooks' at 0x* + # (size 72)
      thread       PID/PID 'python'
      instruction  0x* gate_pybind11+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "gate_pybind11_hook.py", line {here} in <module>
"""

import sys

import pmalloc

sys.path.insert(0, f"{sys.argv[1]}/pybind11")
import gate_pybind11

gate_pybind11.add_hook(100)
pmalloc.mark_rodata_ro()
gate_pybind11.add_hook(50)  # here

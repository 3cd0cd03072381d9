"""Write-rare static data of a pybind11 module, by an ordinary store after init.

Needs: pybind11
Exit: SIGSEGV
Stderr:
    pmalloc: write to protected static data 'gate_pybind11.so, __wr_after_init'
      address      0x* (static data 'gate_pybind11.so, __wr_after_init', offset 0x*)
      object       symbol '(anonymous namespace)::limit' at 0x* + # (size 4)
      thread       PID/PID 'python'
      instruction  0x* gate_pybind11+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "gate_pybind11_scribble.py", line {here} in <module>
"""

import sys

import pmalloc

sys.path.insert(0, f"{sys.argv[1]}/pybind11")
import gate_pybind11

gate_pybind11.scribble(50)  # init: it may
pmalloc.mark_rodata_ro()
gate_pybind11.set_limit(60)  # by rare write
gate_pybind11.scribble(70)  # here

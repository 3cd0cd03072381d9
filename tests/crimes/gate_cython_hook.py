"""A hook of a Cython module, added after the end of init.

Needs: Cython
Exit: SIGSEGV
Stderr:
    pmalloc: write to protected static data 'gate_cython.so, __ro_after_init'
      address      0x* (static data 'gate_cython.so, __ro_after_init', offset 0x*)
      object       symbol 'hooks' at 0x* + # (size 72)
      thread       PID/PID 'python'
      instruction  0x* gate_cython+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "gate_cython_hook.py", line {here} in <module>
"""

import sys

import pmalloc

sys.path.insert(0, f"{sys.argv[1]}/cython")
import gate_cython

gate_cython.add_hook(100)
pmalloc.mark_rodata_ro()
gate_cython.add_hook(50)  # here

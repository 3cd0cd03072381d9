"""Write-rare static data of a Cython module, by an ordinary store after init.

Needs: Cython
Exit: SIGSEGV
Stderr:
    pmalloc: write to protected static data 'gate_cython.so, __wr_after_init'
      address      0x* (static data 'gate_cython.so, __wr_after_init', offset 0x*)
      object       symbol 'limit' at 0x* + # (size 4)
      thread       PID/PID 'python'
      instruction  0x* gate_cython+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "gate_cython_scribble.py", line {here} in <module>
"""

import sys

import pmalloc

sys.path.insert(0, f"{sys.argv[1]}/cython")
import gate_cython

gate_cython.scribble(50)  # init: it may
pmalloc.mark_rodata_ro()
gate_cython.set_limit(60)  # by rare write
gate_cython.scribble(70)  # here

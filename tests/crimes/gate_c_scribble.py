"""Write-rare static data of a C extension, by an ordinary store after init.

Needs: setuptools
Exit: SIGSEGV
Stderr:
    pmalloc: write to protected static data 'gate_c.so, __wr_after_init'
      address      0x* (static data 'gate_c.so, __wr_after_init', offset 0x*)
      object       symbol 'limit' at 0x* + # (size 4)
      thread       PID/PID 'python'
      instruction  0x* gate_c+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "gate_c_scribble.py", line {here} in <module>
"""

import sys

import pmalloc

sys.path.insert(0, f"{sys.argv[1]}/c")
import gate_c

gate_c.scribble(50)  # init: it may
pmalloc.mark_rodata_ro()
gate_c.set_limit(60)  # by rare write
gate_c.scribble(70)  # here

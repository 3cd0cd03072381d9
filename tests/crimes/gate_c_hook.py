"""A hook of a C extension, added after the end of init.

Needs: setuptools
Exit: SIGSEGV
Stderr:
    pmalloc: write to protected static data 'gate_c.so, __ro_after_init'
      address      0x* (static data 'gate_c.so, __ro_after_init', offset 0x*)
      object       symbol 'hooks' at 0x* + # (size 72)
      thread       PID/PID 'python'
      instruction  0x* gate_c+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "gate_c_hook.py", line {here} in <module>
"""

import sys

import pmalloc

sys.path.insert(0, f"{sys.argv[1]}/c")
import gate_c

gate_c.add_hook(100)
pmalloc.mark_rodata_ro()
gate_c.add_hook(50)  # here

"""`audit`: NumPy's vector stores, through a view that protect() could not find.

Needs: numpy
Exit: 0
Stdout:
    True False
    {here} True True
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 0 (size 8000)
      thread       PID/PID 'python'
      instruction  0x* _multiarray_umath+0x*
      policy       audit
      Python stack of this thread:
    Stack (most recent call first):
      File "audit_array.py", line {here} in <module>
"""

import numpy as np

import pmalloc

pool = pmalloc.Pool("crime", on_violation="audit")
hidden = np.empty(1, object)
hidden[0] = pool.copy_array(np.arange(1000.0))[:]
pool.protect()
hidden[0] *= 2  # here
print(hidden[0].sum() == 999000.0, pool.stats()["tainted"])
[violation] = pmalloc.violations()
written = sum(w.size for w in violation.writes)
print(violation.lineno, violation.count == len(violation.writes), written == 8000)

"""`warn`: an array is written through a view that protect() could not find. The program finishes
with the right result, and the warning points at the line.

Needs: numpy
Exit: 0
Stdout:
    True True
    ProtectionWarning {here}
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 0 (size 8000)
      thread       PID/PID 'python'
      instruction  0x* _multiarray_umath+0x*
      policy       warn
      Python stack of this thread:
    Stack (most recent call first):
      File "warn_array.py", line {here} in <module>
"""

import warnings

import numpy as np

import pmalloc

pool = pmalloc.Pool("crime", on_violation="warn")
hidden = np.empty(1, object)
hidden[0] = pool.copy_array(np.arange(1000.0))[:]
pool.protect()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    hidden[0] *= 2  # here
print(hidden[0].sum() == 999000.0, pool.stats()["tainted"])
for warning in caught:
    print(warning.category.__name__, warning.lineno)

"""`audit`: a word of a frozen list is overwritten; the report is as under `oops`.

Exit: 0
Stdout:
    1 ['alpha']
    1 8 True
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + 16
      thread       PID/PID 'python'
      instruction  0x* _ctypes+0x*
      policy       audit
      Python stack of this thread:
    Stack (most recent call first):
      File "audit_frozen.py", line {here} in <module>
"""

import ctypes

import pmalloc

hosts = pmalloc.freeze(["alpha", "beta"], name="crime", on_violation="audit")
ctypes.c_size_t.from_address(id(hosts) + 16).value = 1  # here
print(len(hosts), hosts)
[violation] = pmalloc.violations()
print(violation.count, violation.writes[0].size, violation.writes[0].object == id(hosts))

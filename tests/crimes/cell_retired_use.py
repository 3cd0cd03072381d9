"""An old version of a Cell is read after it was retired by force.

Exit: SIGSEGV
Stdout:
    ['reader'] [False, True, False] True
Stderr:
    pmalloc: use after destroy of pool 'crime@2' (read)
      address      0x* (pool 'crime@2')
      object       none (destroyed)
      thread       PID/PID 'python'
      instruction  0x* python+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "cell_retired_use.py", line {here} in <module>
"""

import pmalloc

policy = pmalloc.Cell(["admin"], name="crime")
policy.publish(["operator"])
stale = policy.get()
policy.publish(["reader"])
policy.retire(2, force=True)
ended = [version.retired for version in policy.versions()]
print(policy.get(), ended, pmalloc.root("crime") is policy)
len(stale)  # here

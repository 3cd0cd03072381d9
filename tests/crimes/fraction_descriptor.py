"""The slot of a frozen Fraction's numerator is set.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       Fraction at 0x* + #
      path         crime
      thread       PID/PID 'python'
      instruction  0x* python+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "fraction_descriptor.py", line {here} in <module>
"""

from fractions import Fraction

import pmalloc

share = pmalloc.freeze(Fraction(1, 3), name="crime")
Fraction._numerator.__set__(share, 3)  # here

"""The slot of a frozen IP address is set.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       IPv4Address at 0x* + #
      path         crime
      thread       PID/PID 'python'
      instruction  0x* python+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "address_descriptor.py", line {here} in <module>
"""

import ipaddress

import pmalloc

gateway = pmalloc.freeze(ipaddress.ip_address("10.0.0.1"), name="crime")
ipaddress.IPv4Address._ip.__set__(gateway, 0)  # here

"""A write from another thread than the main one.

Exit: SIGSEGV
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + 16
      path         crime
      thread       PID/TID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "from_thread.py", line {here} in rogue
      File "threading.py", line N in run
      File "threading.py", line N in _bootstrap_inner
      File "threading.py", line N in _bootstrap
Stderr 3.14+:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       FrozenList at 0x* + 16
      path         crime
      thread       PID/TID 'Thread-1 (rogue'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "from_thread.py", line {here} in rogue
      File "threading.py", line N in run
      File "threading.py", line N in _bootstrap_inner
      File "threading.py", line N in _bootstrap
"""

import ctypes
import threading

import pmalloc

hosts = pmalloc.freeze(["alpha", "beta"], name="crime")


def rogue() -> None:
    ctypes.memset(id(hosts) + 16, 0, 8)  # here


thread = threading.Thread(target=rogue)
thread.start()
thread.join()

"""`audit`: four threads, each at a page of its own.

Exit: 0
Stdout:
    2000 4 {here}
    [500, 500, 500, 500]
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + # (size 16384)
      thread       PID/TID 'python'
      instruction  0x* _ctypes+0x*
      policy       audit
      Python stack of this thread:
    Stack (most recent call first):
      File "audit_from_thread.py", line {here} in count
      File "threading.py", line N in run
      File "threading.py", line N in _bootstrap_inner
      File "threading.py", line N in _bootstrap
Stderr 3.14+:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + # (size 16384)
      thread       PID/TID 'writer'
      instruction  0x* _ctypes+0x*
      policy       audit
      Python stack of this thread:
    Stack (most recent call first):
      File "audit_from_thread.py", line {here} in count
      File "threading.py", line N in run
      File "threading.py", line N in _bootstrap_inner
      File "threading.py", line N in _bootstrap
"""

import ctypes
import threading

import pmalloc

PAGE = 4096
pool = pmalloc.Pool("crime", on_violation="audit")
table = pool.alloc(4 * PAGE)
pool.protect()


def count(at: int) -> None:
    cell = ctypes.c_uint32.from_address(at)
    for n in range(1, 501):
        cell.value = n  # here


threads = [
    threading.Thread(target=count, args=(table.address + n * PAGE,), name="writer")
    for n in range(4)
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
[violation] = pmalloc.violations()
print(violation.count, len({w.thread for w in violation.writes}), violation.lineno)
print([int.from_bytes(bytes(table)[n * PAGE : n * PAGE + 4], "little") for n in range(4)])

"""`off`: threads, one that Python does not know, a signal handler, a child, an atexit handler.

Exit: 0
Stdout:
    18
    [0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0, 0, 0, 0, 16, 17, 120, 120] []
"""

import atexit
import ctypes
import os
import signal
import struct
import threading

import pmalloc

pool = pmalloc.Pool("crime", on_violation="off")
table = pool.copy(b"x" * 80)
view = memoryview(table)
pool.protect(revoke=True)


def store(at: int) -> None:
    ctypes.memset(table.address + at, at, 1)


threads = [threading.Thread(target=store, args=(at,)) for at in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
native = ctypes.c_ulong()
at_8 = ctypes.c_void_p(table.address + 8)
libc.pthread_create(ctypes.byref(native), None, libc.sigemptyset, at_8)
libc.pthread_join(native, None)
signal.signal(signal.SIGUSR1, lambda number, frame: store(16))
signal.raise_signal(signal.SIGUSR1)
struct.pack_into("B", view, 17, 17)
while len(os.listdir("/proc/self/task")) > 1:  # joined, and not quite gone: fork() would warn
    pass
child = os.fork()
if child == 0:
    store(18)
    os._exit(bytes(table)[18])
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(list(bytes(table)[:20]), pmalloc.violations())
atexit.register(store, 20)

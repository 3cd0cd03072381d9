"""In a thread with SIGSEGV blocked the kernel kills the process and calls nobody: no report.

Exit: SIGSEGV
"""

import ctypes
import signal
import threading

import pmalloc

hosts = pmalloc.freeze(["alpha", "beta"], name="crime")


def work():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGSEGV})
    ctypes.memset(id(hosts) + 16, 0, 8)


thread = threading.Thread(target=work)
thread.start()
thread.join()

"""A second process opens an immutable pool and stores into it: the report names the pool there.

Exit: SIGSEGV
Stdout:
    pmalloc.SharedPool b'genuine'
    mmap: [Errno 1] Operation not permitted
Stderr:
    pmalloc: write to protected pool 'crime'
      address      0x* (pool 'crime', chunk 0, offset 0x*)
      object       allocation at 0x* + 3 (size 7)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "shared_store.py", line {here} in <module>
"""

import ctypes
import mmap
import os
import sys

import pmalloc


class Buffer(ctypes.Structure):
    """A Py_buffer, as far as its address."""

    _fields_ = (("address", ctypes.c_void_p), ("rest", ctypes.c_char * 256))


if len(sys.argv) < 3:
    pool = pmalloc.Pool("crime", backing="memfd")
    pool.copy(b"genuine")
    pool.protect(immutable=True)
    os.set_inheritable(pool.fileno(), True)
    # A new program in place of this one: nothing of it is left but the descriptor.
    arguments = [sys.executable, "-u", *sys.argv, str(pool.fileno())]
    if os.fork() == 0:
        os.execv(sys.executable, arguments)
    os.kill(os.getpid(), os.WTERMSIG(os.wait()[1]))

fd = int(sys.argv[2])
shared = pmalloc.open_shared(fd)
print(type(shared).__module__ + "." + type(shared).__name__, bytes(shared[0]))
try:
    mmap.mmap(os.open(f"/proc/self/fd/{fd}", os.O_RDWR), mmap.PAGESIZE)
except OSError as error:
    print("mmap:", error)
buffer = Buffer()
view = shared[0]
ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
ctypes.memset(buffer.address + 3, 0xFF, 1)  # here

"""A shared pool is read after it was closed, by somebody who kept the address.

Exit: SIGSEGV
Stderr:
    pmalloc: use after destroy of pool 'crime' (read)
      address      0x* (pool 'crime')
      object       none (destroyed)
      thread       PID/PID 'python'
      instruction  0x* <_ctypes|python>+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "shared_after_close.py", line {here} in <module>
"""

import ctypes

import pmalloc


class Buffer(ctypes.Structure):
    """A Py_buffer, as far as its address."""

    _fields_ = (("address", ctypes.c_void_p), ("rest", ctypes.c_char * 256))


pool = pmalloc.Pool("crime", backing="memfd")
pool.copy(b"genuine")
pool.protect(immutable=True)
shared = pmalloc.open_shared(pool, seal=False)
buffer = Buffer()
view = shared[0]
ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
view.release()
shared.close()
ctypes.c_char.from_address(buffer.address).value  # here

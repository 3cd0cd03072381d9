"""Takes system calls away from this process, for good: what an older kernel or a sandbox lacks.

A seccomp filter answers them with an errno. Use it in a forked child.
"""

import ctypes
import errno
import platform
import struct

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
F_ADD_SEALS = 1033

NUMBERS = {
    "x86_64": {
        "mseal": 462,
        "memfd_create": 319,
        "fcntl": 72,
        "process_vm_readv": 310,
        "openat": 257,
    },
    "aarch64": {
        "mseal": 462,
        "memfd_create": 279,
        "fcntl": 25,
        "process_vm_readv": 270,
        "openat": 56,
    },
}


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def refuse(
    call: str, error: int = errno.ENOSYS, *, second: int | None = None, third: int | None = None
) -> None:
    """Lets every later use of the call fail; with `second` or `third`: where that argument is it.

    Raises:
        OSError: this kernel has no seccomp.
    """
    number = NUMBERS[platform.machine()][call]
    code = [(LOAD, 0, 0, 0)]
    if second is not None:
        code += [(EQUAL, 0, 3, number), (LOAD, 0, 0, 24), (EQUAL, 0, 1, second)]
    elif third is not None:
        code += [(EQUAL, 0, 3, number), (LOAD, 0, 0, 32), (EQUAL, 0, 1, third)]
    else:
        code += [(EQUAL, 0, 1, number)]
    code += [(RETURN, 0, 0, ERRNO | error), (RETURN, 0, 0, ALLOW)]
    packed = b"".join(struct.pack("=HBBI", *line) for line in code)
    program = Program(len(code), packed)
    libc = ctypes.CDLL(None, use_errno=True)
    if (
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
        or libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.byref(program), 0, 0) != 0
    ):
        raise OSError(ctypes.get_errno(), "no seccomp here")

"""System calls of somebody who runs code of his own in the process, by ctypes.

This is the one folder of the package that touches memory past `_core`: attacking it is what
it is for. Besides the attacks, only the probes of `pmalloc doctor` use it, and both run in
processes of their own.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import platform
import re
import resource
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

PAGE = mmap.PAGESIZE
GENUINE = b"genuine"
FORGED = b"mallory"

READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE
MAP_FIXED = 0x10
MREMAP_MOVE_FIXED = 3
SHM_REMAP = 0o40000
IPC_PRIVATE, IPC_RMID, IPC_CREAT = 0, 0, 0o1000
MADV_GUARD_INSTALL = 102
FALLOC_PUNCH_HOLE = 3  # and keep the size

_ARM = platform.machine() == "aarch64"
_SYS_USERFAULTFD = 282 if _ARM else 323
_SYS_IO_URING_SETUP, _SYS_IO_URING_ENTER, _SYS_IO_URING_REGISTER = 425, 426, 427
_SYS_MSEAL = 462
_SYS_PKEY_ALLOC = 289 if _ARM else 330
_PR_SET_VMA = 0x53564D41

_P, _N, _I, _L = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_long

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.argtypes, libc.mmap.restype = (_P, _N, _I, _I, _I, _L), _P
libc.mremap.argtypes, libc.mremap.restype = (_P, _N, _N, _I, _P), _P
libc.shmat.argtypes, libc.shmat.restype = (_I, _P, _I), _P
libc.mprotect.argtypes = libc.madvise.argtypes = (_P, _N, _I)
libc.munmap.argtypes = (_P, _N)
libc.remap_file_pages.argtypes = (_P, _N, _I, _N, _I)
libc.shmget.argtypes = (_I, _N, _I)
libc.write.argtypes = libc.read.argtypes = (_I, _P, _N)
libc.syscall.restype = libc.ptrace.restype = _L
libc.ptrace.argtypes = (_L, _I, _P, _P)


class Span(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", _P), ("length", _N))


def must(result: int | None) -> int:
    """What a C function answered; a NULL pointer is 0.

    Raises:
        OSError: -1, with the errno.
    """
    if result in {-1, 2**64 - 1}:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result or 0


def syscall(number: int, *arguments: int | None) -> int:
    """A bare system call."""
    return must(libc.syscall(_L(number), *(_L(a or 0) for a in arguments)))


def mmap_at(address: int, size: int, *, protection: int = READ_WRITE, fixed: bool = True) -> int:
    """Anonymous private memory, over whatever is there if `fixed`."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | (MAP_FIXED if fixed else 0)
    return must(libc.mmap(address or None, size, protection, flags, -1, 0))


def store(address: int, data: bytes) -> None:
    """An ordinary store, by this thread."""
    ctypes.memmove(address, data, len(data))


def load(address: int, size: int) -> bytes | None:
    """Reads as the process itself would; None where that would fault.

    write(2) answers EFAULT for what cannot be read, and needs no permission.
    """
    reading, writing = os.pipe()
    try:
        if libc.write(writing, address, size) != size:
            return None
        return os.read(reading, size)
    finally:
        os.close(reading)
        os.close(writing)


def seal(address: int, size: int) -> None:
    """mseal(2), Linux 6.10 and later."""
    syscall(_SYS_MSEAL, address, size, 0)


def proc_mem_error() -> int:
    """Why /proc/self/mem does not write a page that is read-only: an errno; 0: it does."""
    address = mmap_at(0, PAGE, fixed=False)
    store(address, GENUINE)
    must(libc.mprotect(address, PAGE, mmap.PROT_READ))
    try:
        memory = os.open("/proc/self/mem", os.O_RDWR)
        try:
            os.pwrite(memory, FORGED, address)
        finally:
            os.close(memory)
    except OSError as error:
        return error.errno or errno.EIO
    finally:
        must(libc.munmap(address, PAGE))
    return 0


def shut_proc_mem() -> None:
    """Takes it away: closes each descriptor of it, and lets no file be opened any more."""
    for link in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):  # the list's own
            if re.fullmatch(r"/proc/\w+/mem", str(link.readlink())):
                os.close(int(link.name))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def name_anonymous(address: int, size: int, name: str) -> None:
    """PR_SET_VMA_ANON_NAME, Linux 5.17 and later, where it was configured."""
    must(
        libc.prctl(
            _PR_SET_VMA, *(_L(word) for word in (0, address, size)), ctypes.c_char_p(name.encode())
        )
    )


def vm_readv(address: int, size: int) -> bytes:
    """process_vm_readv of this process's own memory."""
    into = ctypes.create_string_buffer(size)
    here, there = Span(ctypes.addressof(into), size), Span(address, size)
    spans = (ctypes.byref(here), ctypes.c_ulong(1), ctypes.byref(there), ctypes.c_ulong(1))
    must(libc.process_vm_readv(os.getpid(), *spans, ctypes.c_ulong(0)))
    return into.raw


def pkey_alloc() -> int:
    """A protection key of the CPU."""
    return syscall(_SYS_PKEY_ALLOC, 0, 0)


def call(address: int) -> None:
    """Runs the function of no arguments that begins there."""
    ctypes.CFUNCTYPE(None)(address)()


# ---- userfaultfd ----

_UFFD_USER_MODE_ONLY = 1
_UFFDIO_API, _UFFDIO_REGISTER, _UFFDIO_COPY = 0xC018AA3F, 0xC020AA00, 0xC028AA03


def uffd_copy(address: int, data: bytes) -> None:
    """Fills a page that is not present, without a store."""
    fd = syscall(_SYS_USERFAULTFD, os.O_CLOEXEC | _UFFD_USER_MODE_ONLY)
    try:
        fcntl.ioctl(fd, _UFFDIO_API, struct.pack("QQQ", 0xAA, 0, 0))
        fcntl.ioctl(fd, _UFFDIO_REGISTER, struct.pack("QQQQ", address, PAGE, 1, 0))
        page = ctypes.create_string_buffer(data.ljust(PAGE, b"\0"), PAGE)
        room = mmap_at(0, PAGE, fixed=False)  # the source is a whole page, aligned
        ctypes.memmove(room, page, PAGE)
        fcntl.ioctl(fd, _UFFDIO_COPY, struct.pack("QQQQq", address, room, PAGE, 0, 0))
    finally:
        os.close(fd)


# ---- io_uring ----

_REGISTER_BUFFERS, _UNREGISTER_BUFFERS = 0, 1
_OP_READ_FIXED, _GET_EVENTS = 4, 1
_OFFSET_SQES = 0x10000000
_OFFSET_CQ = 0x8000000
_FEAT_SINGLE_MMAP = 1


class Ring:
    """An io_uring with one registered buffer: pages pinned for writing.

    Raises:
        OSError: the kernel has no io_uring, a sysctl or a sandbox forbids it, or the pages
            cannot be pinned.
    """

    def __init__(self, address: int, size: int) -> None:
        params = ctypes.create_string_buffer(120)
        self.fd = syscall(_SYS_IO_URING_SETUP, 4, ctypes.addressof(params))
        words = struct.unpack("<30I", params.raw)
        sq_entries, cq_entries, features = words[0], words[1], words[5]
        self._sq = words[10:17]  # head, tail, mask, entries, flags, dropped, array
        self._cq = words[20:26]  # head, tail, mask, entries, overflow, cqes
        sq_bytes = self._sq[6] + sq_entries * 4
        cq_bytes = self._cq[5] + cq_entries * 16
        if features & _FEAT_SINGLE_MMAP:
            sq_bytes = cq_bytes = max(sq_bytes, cq_bytes)
        self._sq_ring = mmap.mmap(self.fd, sq_bytes, offset=0)
        self._cq_ring = (
            self._sq_ring
            if features & _FEAT_SINGLE_MMAP
            else mmap.mmap(self.fd, cq_bytes, offset=_OFFSET_CQ)
        )
        self._sqes = mmap.mmap(self.fd, sq_entries * 64, offset=_OFFSET_SQES)
        self._span = Span(address, size)
        syscall(_SYS_IO_URING_REGISTER, self.fd, _REGISTER_BUFFERS, ctypes.addressof(self._span), 1)

    def read_into(self, file: int, address: int, size: int) -> None:
        """Lets the kernel read a file into the registered pages, whatever they are now."""
        sqe = struct.pack(
            "<BBHiQQIIQH", _OP_READ_FIXED, 0, 0, file, 0, address, size, 0, 0, 0
        ).ljust(64, b"\0")
        self._sqes[:64] = sqe
        array, tail = self._sq[6], self._sq[1]
        self._sq_ring[array : array + 4] = struct.pack("<I", 0)
        now = struct.unpack_from("<I", self._sq_ring, tail)[0]
        self._sq_ring[tail : tail + 4] = struct.pack("<I", now + 1)
        syscall(_SYS_IO_URING_ENTER, self.fd, 1, 1, _GET_EVENTS, 0, 0)
        head = struct.unpack_from("<I", self._cq_ring, self._cq[0])[0]
        at = self._cq[5] + 16 * (head & struct.unpack_from("<I", self._cq_ring, self._cq[2])[0])
        (result,) = struct.unpack_from("<i", self._cq_ring, at + 8)
        if result < 0:
            raise OSError(-result, os.strerror(-result))

    def unpin(self) -> None:
        """Gives the pages back."""
        syscall(_SYS_IO_URING_REGISTER, self.fd, _UNREGISTER_BUFFERS, 0, 0)


# ---- ptrace ----

_TRACE_ME, _POKE_DATA, _CONTINUE = 0, 5, 7


Work = Callable[[], bytes | None]


class Killed(Exception):  # noqa: N818 - it is what should happen
    """The child died of a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _work_in_child(work: Work, writing: int, traced: bool) -> NoReturn:
    with contextlib.suppress(BaseException):
        if traced:
            must(libc.ptrace(_TRACE_ME, 0, None, None))
            os.kill(os.getpid(), signal.SIGSTOP)
        seen = work()
        os.write(writing, b"-" if seen is None else b"+" + seen)
    os._exit(0)


def _answer(child: int, reading: int) -> bytes | None:
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        raise Killed(-status)
    return told[1:] if told[:1] == b"+" else None


def in_child(work: Work) -> bytes | None:
    """Runs work() in a forked child, and answers the bytes that it returned.

    Raises:
        Killed: it did not come to that.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _work_in_child(work, writing, traced=False)
    os.close(writing)
    return _answer(child, reading)


def poke_child(address: int, data: bytes, work: Work) -> bytes | None:
    """As in_child(), but a debugger's write to the child's memory comes before work()."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _work_in_child(work, writing, traced=True)
    os.close(writing)
    if not os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1]):
        os.close(reading)
        raise PermissionError(errno.EPERM, "the child may not be traced")
    try:
        word = int.from_bytes(data.ljust(8, b"\0")[:8], "little")
        must(libc.ptrace(_POKE_DATA, child, address, word))
    except OSError:
        os.kill(child, signal.SIGKILL)
        with contextlib.suppress(Killed):
            _answer(child, reading)
        raise
    libc.ptrace(_CONTINUE, child, None, None)
    return _answer(child, reading)

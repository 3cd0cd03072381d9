"""What Python sees where the kernel is asked to write into protected memory.

A read-only buffer is refused before any system call is made. Who holds a writable view that was
revoked, or an address, gets EFAULT from the kernel, and no signal: no report, in no policy. Code
that reads into a buffer of its own first and then copies makes an ordinary violation.
"""

import ctypes
import errno
import fcntl
import io
import os
import select
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator

import pytest

import pmalloc

DATA = b"sixteen bytes ok"
FIONREAD = 0x541B


class Sources:
    """A file, a pipe and a socket with DATA to be read."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile(buffering=0)
        self.file.write(DATA)
        self.file.seek(0)
        self.pipe, self._writer = os.pipe()
        os.write(self._writer, DATA)
        self.stream, self._peer = socket.socketpair()
        self._peer.send(DATA)
        os.set_blocking(self.pipe, False)
        self.stream.setblocking(False)
        self.datagrams, self._sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sender.send(DATA)

    def close(self) -> None:
        for thing in (self.file, self.stream, self._peer, self.datagrams, self._sender):
            thing.close()
        os.close(self.pipe)
        os.close(self._writer)


@pytest.fixture
def sources() -> Iterator[Sources]:
    made = Sources()
    yield made
    made.close()


CALLS: dict[str, Callable[[Sources, object], object]] = {
    "file.readinto": lambda s, b: s.file.readinto(b),
    "socket.recv_into": lambda s, b: s.stream.recv_into(b),
    "socket.recvfrom_into": lambda s, b: s.stream.recvfrom_into(b),
    "socket.recvmsg_into": lambda s, b: s.stream.recvmsg_into([b]),
    "os.readv": lambda s, b: os.readv(s.pipe, [b]),
    "os.preadv": lambda s, b: os.preadv(s.file.fileno(), [b], 0),
}
COPIES: dict[str, Callable[[Sources, object], object]] = {
    "BufferedReader.readinto": lambda s, b: io.BufferedReader(s.file).readinto(b),
    "BytesIO.readinto": lambda s, b: io.BytesIO(DATA).readinto(b),
    "fcntl.ioctl": lambda s, b: fcntl.ioctl(s.pipe, FIONREAD, b),
}


def an_allocation(name: str) -> object:
    with pmalloc.Pool(name) as pool:
        return pool.alloc(len(DATA))


def a_read_only_view(name: str) -> object:
    pool = pmalloc.Pool(name)
    allocation = pool.alloc(len(DATA))
    pool.protect()
    return memoryview(allocation)


def frozen_bytes(name: str) -> object:
    return pmalloc.freeze([b"0123456789abcdef"], name=name)[0]


def an_array(name: str) -> object:
    pytest.importorskip("numpy")
    with pmalloc.Pool(name) as pool:
        return pool.ndarray(len(DATA), "u1")


def a_revoked_view(name: str) -> memoryview:
    pool = pmalloc.Pool(name)
    view = memoryview(pool.alloc(len(DATA)))
    pool.protect(revoke=True)
    assert not view.readonly  # Python believes it may write
    return view


@pytest.mark.parametrize("make", [an_allocation, a_read_only_view, frozen_bytes, an_array])
@pytest.mark.parametrize("call", CALLS)
def test_a_read_only_buffer_is_refused_by_python(sources, name, call, make):
    buffer = make(name)
    before = bytes(buffer)
    with pytest.raises((TypeError, BufferError, ValueError)) as error:
        CALLS[call](sources, buffer)
    told = str(error.value)
    if call in {"os.readv", "os.preadv"}:  # the words of whoever owns the buffer
        assert told in {
            f"no writable view of this allocation: pool '{name}' is protected",
            "memoryview: underlying buffer is not writable",
            "Object is not writable.",
            "buffer source array is read-only",
        }
    else:
        assert "read-write" in told
        assert isinstance(error.value, TypeError)
    assert bytes(buffer) == before
    assert sources.stream.recv(100) == DATA  # nothing was taken out
    assert os.read(sources.pipe, 100) == DATA


@pytest.mark.parametrize("call", CALLS)
def test_a_revoked_view_is_refused_by_the_kernel(sources, name, call):
    view = a_revoked_view(name)
    with pytest.raises(OSError, match="Bad address") as error:
        CALLS[call](sources, view)
    assert error.value.errno == errno.EFAULT
    assert bytes(view) == bytes(len(DATA))
    # A stream keeps what it could not deliver.
    assert sources.stream.recv(100) == DATA
    assert os.read(sources.pipe, 100) == DATA


def test_a_datagram_is_gone_with_its_error(sources, name):
    with pytest.raises(OSError, match="Bad address"):
        sources.datagrams.recv_into(a_revoked_view(name))
    assert select.select([sources.datagrams], [], [], 0)[0] == []


def test_an_address_is_refused_by_the_kernel(sources, name):
    allocation = an_allocation(name)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.read(sources.pipe, ctypes.c_void_p(allocation.address), 16) == -1
    assert ctypes.get_errno() == errno.EFAULT
    assert os.read(sources.pipe, 100) == DATA
    assert libc.read(sources.pipe, ctypes.c_void_p(id(frozen_bytes(name + "b"))), 16) == -1


def test_a_forced_array_is_refused_by_the_kernel(sources, name):
    numpy = pytest.importorskip("numpy")
    address = an_allocation(name).address
    array = numpy.ctypeslib.as_array((ctypes.c_uint8 * 16).from_address(address))
    with pytest.raises(OSError, match="Bad address"):
        sources.file.readinto(array)
    sources.file.seek(0)
    assert bytes(numpy.fromfile(sources.file, "u1")) == DATA  # has no way to read into one


def test_one_protected_buffer_of_several(sources, name):
    """What came before it is not told about either."""
    first = bytearray(4)
    with pytest.raises(OSError, match="Bad address"):
        os.readv(sources.pipe, [first, a_revoked_view(name)])
    assert os.read(sources.pipe, 100) == DATA


@pytest.mark.parametrize("call", COPIES)
def test_what_copies_makes_a_violation(sources, name, call):
    view = a_revoked_view(name)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 2)
        COPIES[call](sources, view)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        report = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGSEGV
    assert f"pmalloc: write to protected pool '{name}'" in report
    assert "test_what_copies_makes_a_violation" in report


def test_writing_from_protected_memory_is_reading(sources, name):
    with pmalloc.Pool(name) as pool:
        allocation = pool.copy(DATA)
    reading, writing = os.pipe()
    assert os.write(writing, allocation) == len(DATA)
    assert os.read(reading, 100) == DATA
    os.close(reading)
    os.close(writing)
    assert sources.stream.send(allocation) == len(DATA)

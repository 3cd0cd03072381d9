"""The tiers: sealed and immutable pools, memfds, and who may still write."""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import signal
import threading

import pytest
from child import in_child
from tiers import TIERS, N, P, check_open, content, dies_of, libc, needs_seal, store

import pmalloc
from pmalloc import Pool, ProtectedError, SealedError

PAGE = mmap.PAGESIZE


def memfds(name: str) -> list[int]:
    """Descriptors of this process that are the memory of the pool."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the list's own
            if os.readlink(f"/proc/self/fd/{fd}") == f"/memfd:pmalloc:{name} (deleted)":
                found.append(int(fd))
    return found


# ---- tiers ---------------------------------------------------------------------------------------


@needs_seal
@pytest.mark.parametrize(("backing", "how", "state"), TIERS)
@pytest.mark.parametrize("chunk_size", [0, 1])
def test_tiers(backing, how, state, chunk_size, name):
    pool = Pool(name, backing=backing, chunk_size=chunk_size)
    assert pool.stats()["backing"] == backing
    small, large = pool.copy(b"small"), pool.alloc(3 << 20)
    with memoryview(large) as view:
        view[-5:] = b"large"
    frozen = pool.freeze({"some": [1.5, "frozen", {"objects"}]})
    assert pool.protect(**how) is None
    assert pool.state == pool.stats()["state"] == state
    assert repr(pool).startswith(f"<pmalloc.Pool '{name}': {state}, ")
    assert content(small) == b"small"
    assert content(large)[-5:] == b"large"
    assert frozen == {"some": [1.5, "frozen", {"objects"}]}
    assert pmalloc.root(name) is frozen
    assert pmalloc.is_protected(frozen)
    assert pmalloc.is_protected(small)
    with memoryview(small) as view:
        assert view.readonly
    for at in (small.address, large.address + large.size - 1, id(frozen)):
        assert dies_of(lambda at=at: store(at)) == signal.SIGSEGV
    for again in ({}, how):
        with pytest.raises(ProtectedError):
            pool.protect(**again)
    with pytest.raises(ProtectedError):
        pool.alloc(1)
    if state == "protected":
        del frozen
        pool.destroy(force=True)
        assert pool.state == "destroyed"
        assert dies_of(lambda: ctypes.string_at(large.address, 1)) == signal.SIGSEGV
        return
    for force in (False, True):
        with pytest.raises(SealedError) as caught:
            pool.destroy(force)
        message = f"cannot destroy pool '{name}': it is sealed, and stays for the life of the "
        assert str(caught.value) == message + "process"
    assert pool in pmalloc.pools()
    pool.free(small)  # only drops out of the accounting
    assert frozen["some"][1] == "frozen"


@needs_seal
def test_an_immutable_pool_needs_a_memfd(name):
    pool = Pool(name)
    allocation = pool.copy(b"x")
    with pytest.raises(ValueError) as caught:
        pool.protect(immutable=True)
    assert str(caught.value) == (
        f"cannot make pool '{name}' immutable: its memory is private; create it with "
        "backing='memfd'"
    )
    check_open(pool, allocation)


def test_backings_have_names(name):
    for bad in ("shm", "", "Memfd"):
        with pytest.raises(ValueError) as caught:
            Pool(name, backing=bad)
        message = f"backing of pool '{name}' is 'private' or 'memfd', not '{bad}'"
        assert str(caught.value) == message
    with pytest.raises(TypeError):
        Pool(name, backing=None)
    assert Pool(name).stats()["backing"] == "private"


@needs_seal
@pytest.mark.parametrize("how", [{"seal": True}, {"immutable": True}])
def test_writable_views_are_asked_for_first(how, name):
    pool = Pool(name, backing="memfd")
    allocation = pool.copy(b"text")
    view = memoryview(allocation)
    with pytest.raises(BufferError, match=r"1 writable view\(s\) of its allocations are alive"):
        pool.protect(**how)
    check_open(pool, allocation)
    pool.protect(revoke=True, **how)
    assert bytes(view) == b"text"
    with pytest.raises(SealedError):  # not BufferError: no release would help
        pool.destroy()


@needs_seal
@pytest.mark.parametrize("backing", ["private", "memfd"])
def test_an_empty_pool_can_be_sealed(backing, name):
    pool = Pool(name, backing=backing)
    pool.protect(seal=True)
    with pytest.raises(SealedError):
        pool.destroy()
    assert pmalloc.pools()[-1] is pool


@needs_seal
def test_the_context_manager_leaves_a_sealed_pool_alone(name):
    with Pool(name) as pool:
        allocation = pool.copy(b"x")
        pool.protect(seal=True)
    assert pool.state == "sealed"
    with pytest.raises(KeyError), pool:
        raise KeyError
    assert content(allocation) == b"x"


@needs_seal
def test_a_memfd_is_sealed_named_and_closed_on_exec(name):
    pool = Pool(name, backing="memfd")
    assert memfds(name) == []
    pool.alloc(1)
    [number] = memfds(name)
    assert fcntl.fcntl(number, fcntl.F_GET_SEALS) & 0xF == 0
    with pytest.raises(pmalloc.PmallocError) as caught:
        pool.fileno()
    assert str(caught.value) == (
        f"cannot share pool '{name}': it is not immutable; create it with backing='memfd' and "
        "call protect(immutable=True)"
    )
    pool.protect(immutable=True)
    fd = pool.fileno()
    assert memfds(name) == [fd]
    assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & 0xF == 0xF
    assert not os.get_inheritable(fd)
    assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    with pytest.raises(OSError):
        os.write(fd, b"x")


def test_descriptors_are_given_back(name):
    def one() -> None:
        pool = Pool(name, backing="memfd")
        pool.alloc(100_000)
        pool.destroy()

    one()
    before = os.listdir("/proc/self/fd")
    for _ in range(50):
        one()
    assert os.listdir("/proc/self/fd") == before


def test_a_descriptor_that_was_closed(name):
    """A daemoniser closes what it does not know; its number is somebody else's file then."""

    def work() -> None:
        pool = Pool(name, backing="memfd")
        allocation = pool.copy(b"kept")
        [number] = memfds(name)
        stranger = os.memfd_create("stranger")
        os.dup2(stranger, number)
        for call in (lambda: pool.alloc(100_000), lambda: pool.protect(immutable=True)):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.EBADF
        assert content(allocation) == b"kept"
        pool.alloc(1)  # where there is room
        pool.protect()
        pool.destroy()
        assert os.fstat(number).st_size == 0

    in_child(work)


@needs_seal
def test_freeze_seals():
    frozen = pmalloc.freeze({"a": [1, 2]}, name="sealed objects", seal=True)
    pool = pmalloc.pool_of(frozen)
    assert pool is not None
    assert pool.state == "sealed"
    assert frozen["a"] == [1, 2]
    with pytest.raises(pmalloc.SealedError):
        pool.destroy(force=True)


# ---- who may still write -------------------------------------------------------------------------


class Span(ctypes.Structure):
    _fields_ = (("base", P), ("length", N))


@needs_seal
def test_pinned_pages_keep_a_pool_from_becoming_immutable(name):
    pool = Pool(name, backing="memfd")
    allocation = pool.alloc(PAGE, align=PAGE)
    reader, writer = os.pipe()
    span = Span(allocation.address, PAGE)
    assert libc.vmsplice(writer, ctypes.byref(span), N(1), 0) == PAGE
    with pytest.raises(OSError) as caught:
        pool.protect(immutable=True)
    assert caught.value.errno == errno.EBUSY
    assert caught.value.strerror == (
        f"cannot make immutable pool '{name}': somebody may still write its memory (Device or "
        "resource busy): its pages are pinned (io_uring buffers, vmsplice, RDMA), or a process "
        "that was forked while it was open maps it; the pool is open as before"
    )
    check_open(pool, allocation)
    assert len(os.read(reader, PAGE)) == PAGE
    pool.protect(immutable=True)
    os.close(reader)
    os.close(writer)


@needs_seal
def test_an_open_memfd_pool_is_shared_over_fork(name):
    pool = Pool(name, backing="memfd")
    allocation = pool.copy(b"parent")
    words = rf"^cannot \w+ \w+ pool '{name}': it was open when this process was forked, and its "

    def work() -> None:
        for call in (
            lambda: pool.alloc(1),
            lambda: pool.copy(b"x"),
            lambda: pool.prealloc(1 << 20),
            lambda: pool.freeze([1]),
            lambda: pool.free(allocation),
            lambda: pool.protect(immutable=True),
        ):
            with pytest.raises(pmalloc.PmallocError, match=words):
                call()
        with memoryview(allocation) as view:
            view[:] = b"child!"

    in_child(work)
    assert content(allocation) == b"child!"

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    with pytest.raises(OSError) as caught:
        pool.protect(immutable=True)
    assert caught.value.errno == errno.EBUSY
    check_open(pool, allocation)
    os.close(writer)
    os.waitpid(child, 0)
    os.close(reader)
    pool.protect(immutable=True)
    assert dies_of(lambda: store(allocation.address)) == signal.SIGSEGV


@needs_seal
def test_threads_read_on_while_a_pool_becomes_immutable(name):
    """The mappings are replaced under their eyes; a gap would be the end of the process."""

    def work() -> None:
        pool = Pool(name, backing="memfd", chunk_size=1)
        allocations = [pool.copy(bytes([n]) * PAGE) for n in range(100)]
        frozen = pool.freeze({str(n): [n] for n in range(500)})
        wrong: list[int] = []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                for n, allocation in enumerate(allocations):
                    if ctypes.string_at(allocation.address, PAGE) != bytes([n]) * PAGE:
                        wrong.append(n)
                if sum(value[0] for value in frozen.values()) != 499 * 250:
                    wrong.append(-1)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        pool.protect(immutable=True)
        done.set()
        for reader in readers:
            reader.join()
        assert wrong == []

    in_child(work)

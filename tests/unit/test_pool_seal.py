"""The tiers: sealed and immutable pools, memfds, and what happens where the kernel lacks one."""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import re
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sandbox
from child import in_child

import pmalloc
from pmalloc import DestroyedError, Pool, ProtectedError, SealedError

libc = ctypes.CDLL(None, use_errno=True)
PAGE = mmap.PAGESIZE
P, N = ctypes.c_void_p, ctypes.c_size_t
libc.syscall.restype = ctypes.c_long

CAN_SEAL = libc.syscall(ctypes.c_long(462), P(0), N(0), ctypes.c_ulong(0)) == 0
needs_seal = pytest.mark.skipif(not CAN_SEAL, reason="this kernel has no mseal")

TIERS = [
    ("private", {}, "protected"),
    ("memfd", {}, "protected"),
    ("private", {"seal": True}, "sealed"),
    ("memfd", {"seal": True}, "sealed"),
    ("memfd", {"immutable": True}, "immutable"),
    ("memfd", {"immutable": True, "seal": True}, "immutable"),
]


def store(address: int) -> None:
    ctypes.memset(address, 0xFF, 1)


def dies_of(work: Callable[[], object]) -> int:
    """The signal that ends a forked child which does the work; 0 where none does."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # no report: pytest's would come as well
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        work()
        os._exit(0)
    return -os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def content(allocation: pmalloc.Allocation) -> bytes:
    with memoryview(allocation) as view:
        return bytes(view)


def memfds(name: str) -> list[int]:
    """Descriptors of this process that are the memory of the pool."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the list's own
            if os.readlink(f"/proc/self/fd/{fd}") == f"/memfd:pmalloc:{name} (deleted)":
                found.append(int(fd))
    return found


def check_open(pool: Pool, allocation: pmalloc.Allocation) -> None:
    """An error left an open pool behind, and all of it works."""
    assert pool.state == "open"
    with memoryview(allocation) as view:
        before = view[0]
        view[0] = before ^ 1
        view[0] = before
    frozen = pool.freeze({"after": ["the", "error"]})
    assert frozen == {"after": ["the", "error"]}
    assert pool.root is frozen
    pool.free(pool.copy(b"more"))


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


# ---- what a kernel or a sandbox lacks ------------------------------------------------------------


LACKING = [
    ("mseal", None, errno.ENOSYS, {"seal": True}, "seal"),
    ("mseal", None, errno.EPERM, {"seal": True}, "seal"),
    ("mseal", None, errno.ENOSYS, {"immutable": True}, "make immutable"),
    ("fcntl", sandbox.F_ADD_SEALS, errno.EINVAL, {"immutable": True}, "make immutable"),
    ("fcntl", sandbox.F_ADD_SEALS, errno.EPERM, {"immutable": True}, "make immutable"),
]


@needs_seal
@pytest.mark.parametrize(("call", "second", "error", "how", "verb"), LACKING)
def test_a_missing_call(call, second, error, how, verb, name):
    def work() -> None:
        pool = Pool(name, backing="memfd")
        allocation = pool.copy(b"text")
        sandbox.refuse(call, error, second=second)
        for _ in range(2):
            with pytest.raises(OSError) as caught:
                pool.protect(**how)
            assert caught.value.errno == error
            assert caught.value.strerror.startswith(f"cannot {verb} pool '{name}': ")
            assert os.strerror(error) in caught.value.strerror
            check_open(pool, allocation)
        pool.protect()
        assert pool.state == "protected"
        assert dies_of(lambda: store(allocation.address)) == signal.SIGSEGV
        pool.destroy(force=True)

    in_child(work)


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM])
def test_no_memfd(error, name):
    def work() -> None:
        sandbox.refuse("memfd_create", error)
        pool = Pool(name, backing="memfd")
        for call in (lambda: pool.alloc(1), lambda: pool.protect(immutable=True)):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == error
            assert re.match(
                rf"cannot \w+ \w+ pool '{name}': this kernel cannot do it, or a sandbox forbids it",
                caught.value.strerror,
            )
        assert pool.state == "open"
        pool.destroy()
        Pool(name).alloc(1)

    in_child(work)


@needs_seal
def test_no_proc(name):
    """The read-only mapping is made another way, and is as strong in the end."""

    def work() -> None:
        mem = os.open("/proc/self/mem", os.O_RDWR)
        try:
            os.unshare(os.CLONE_NEWNS)
        except PermissionError:
            return
        libc.mount(b"none", b"/", None, ctypes.c_ulong(1 << 18 | 1 << 14), None)
        assert libc.mount(b"none", b"/proc", b"tmpfs", ctypes.c_ulong(0), None) == 0
        assert not os.path.exists("/proc/self")
        pool = Pool(name, backing="memfd")
        allocation, large = pool.copy(b"text"), pool.alloc(3 << 20)
        pool.freeze({"a": [1]})
        pool.protect(immutable=True)
        assert pool.state == "immutable"
        assert content(allocation) == b"text"
        for address in (allocation.address, large.address):
            assert dies_of(lambda address=address: store(address)) == signal.SIGSEGV
            with pytest.raises(OSError):
                os.pwrite(mem, b"x", address)
        assert pmalloc.root(name) == {"a": [1]}
        assert bytes(pmalloc.open_shared(pool)[0]) == b"text"

    in_child(work)


@needs_seal
def test_a_read_only_proc(name):
    def work() -> None:
        try:
            os.unshare(os.CLONE_NEWNS)
        except PermissionError:
            return
        libc.mount(b"none", b"/", None, ctypes.c_ulong(1 << 18 | 1 << 14), None)
        flags = 1 | 32 | 4096  # read-only, of the mount that is there
        assert libc.mount(b"none", b"/proc", None, ctypes.c_ulong(flags), None) == 0
        with pytest.raises(OSError):
            os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        pool = Pool(name, backing="memfd")
        allocation = pool.copy(b"text")
        root = pool.freeze([1])
        pool.protect(immutable=True)
        assert pmalloc.root(name) is root
        assert dies_of(lambda: store(allocation.address)) == signal.SIGSEGV

    in_child(work)


def exhausted(limit: int, room: int, error: type[OSError | MemoryError], name: str) -> None:
    def work() -> None:
        pool = Pool(name, backing="memfd")
        allocation = pool.copy(b"kept")
        resource.setrlimit(limit, (room, room))

        def fill() -> None:
            for _ in range(1000):
                pool.alloc(8 << 20)

        with pytest.raises(error) as caught:
            fill()
        assert str(caught.value).count(f"cannot allocate from pool '{name}': ") == 1
        used = pool.stats()
        with pytest.raises(error):
            pool.alloc(8 << 20)
        assert pool.stats() == used
        check_open(pool, allocation)
        pool.protect()
        assert content(allocation) == b"kept"

    in_child(work)


def test_out_of_address_space(name):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
    exhausted(resource.RLIMIT_AS, used + (64 << 20), MemoryError, name)


def test_out_of_file_size(name):
    exhausted(resource.RLIMIT_FSIZE, 20 << 20, OSError, name)


def test_out_of_descriptors(name):
    def work() -> None:
        pool = Pool(name, backing="memfd")
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        with pytest.raises(OSError) as caught:
            pool.alloc(1)
        assert caught.value.errno == errno.EMFILE
        assert pool.stats()["chunks"] == 0
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        Pool(name + "!").alloc(1)

    in_child(work)


@needs_seal
@pytest.mark.parametrize(("backing", "how", "state"), TIERS)
def test_out_of_mappings(backing, how, state, name):
    """Not one mapping left: the pool is open as before, and sealed when there is room again."""

    def work() -> None:
        pool = Pool(name, backing=backing)
        allocation = pool.copy(b"kept")
        libc.mmap.restype, libc.mmap.argtypes = P, (P, N, *(ctypes.c_int,) * 3, ctypes.c_long)
        taken = []
        while (at := libc.mmap(None, PAGE, len(taken) % 2, 0x22, -1, 0)) != P(-1).value:
            taken.append(at)
        assert ctypes.get_errno() == errno.ENOMEM or len(taken) > 1000
        refused = False
        try:
            pool.protect(**how)
        except MemoryError:
            refused = True
            assert pool.state == "open"
        assert refused is (state != "protected")
        for at in taken[-200:]:
            libc.munmap(P(at), N(PAGE))
        if refused:
            check_open(pool, allocation)
            pool.protect(**how)
        assert pool.state == state
        assert content(allocation) == b"kept"

    in_child(work)


# ---- the global pool, the forms ------------------------------------------------------------------


@needs_seal
def test_freeze_seals():
    frozen = pmalloc.freeze({"a": [1, 2]}, name="sealed objects", seal=True)
    pool = pmalloc.pool_of(frozen)
    assert pool is not None
    assert pool.state == "sealed"
    assert frozen["a"] == [1, 2]
    with pytest.raises(pmalloc.SealedError):
        pool.destroy(force=True)


def test_the_global_pool_is_the_librarys():
    """What pmalloc_global_pool() gives C code is what Python has: no second one."""

    def work() -> None:
        pool = pmalloc.global_pool()
        again = Pool.__new__(Pool, "global", _global=True)
        assert again._id == pool._id
        first = pool._id
        pool.destroy()
        del again
        assert pmalloc.global_pool()._id != first
        assert pool.state == "destroyed"

    in_child(work)


def test_global_pool():
    def work() -> None:
        pool = pmalloc.global_pool()
        assert pmalloc.global_pool() is pool
        assert pool.name == "global"
        assert pool in pmalloc.pools()
        allocation = pool.copy(b"mine")
        pool.protect()
        assert pmalloc.global_pool() is pool
        with pytest.raises(ProtectedError, match="use a new pool"):
            pmalloc.global_pool().alloc(1)
        assert content(allocation) == b"mine"
        pool.destroy()
        with pytest.raises(DestroyedError):
            pool.alloc(1)
        again = pmalloc.global_pool()
        assert again is not pool
        again.alloc(1)

    in_child(work)


def test_the_global_pool_is_one_for_all_threads():
    def work() -> None:
        got: list[Pool] = []
        start = threading.Barrier(8)

        def take() -> None:
            start.wait()
            got.append(pmalloc.global_pool())

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 8
        assert all(pool is got[0] for pool in got)

    in_child(work)


def test_a_global_pool_of_somebody_elses():
    def work() -> None:
        taken = Pool("global")
        with pytest.raises(ValueError, match="a live pool has the name 'global' already"):
            pmalloc.global_pool()
        taken.destroy()
        pmalloc.global_pool().alloc(1)

    in_child(work)


@pytest.mark.parametrize(
    "source",
    [b"", b"bytes", bytearray(b"x" * 100_000), memoryview(b"0123456789")[::3], b"\0" * 17],
    ids=["empty", "bytes", "bytearray", "strided", "zeroes"],
)
def test_copy(source, name):
    pool = Pool(name)
    allocation = pool.copy(source)
    assert len(allocation) == len(bytes(source))
    assert content(allocation) == bytes(source)
    with memoryview(allocation) as view:
        view[:1] = b"y"[: len(view)]  # a copy, and ours to change until protect()
    pool.protect()
    with pytest.raises(ProtectedError, match=f"^cannot copy into pool '{name}': it is protected"):
        pool.copy(source)


def test_copy_needs_bytes(name):
    pool = Pool(name)
    for bad in ("text", 5, None, [1]):
        with pytest.raises(TypeError):
            pool.copy(bad)
    allocation = pool.copy(b"abc")
    assert content(pool.copy(allocation)) == b"abc"
    assert pool.stats()["allocations"] == 2
    assert pool.stats()["views"] == 0


def test_array(name):
    pool = Pool(name)
    array = pool.array(100, 8)
    assert len(array) == 800
    assert content(array) == bytes(800)
    with memoryview(array).cast("d") as view:
        view[99] = 2.5
    assert len(pool.array(0, 8)) == 0
    for n, itemsize in ((-1, 8), (1, 0), (1, -8), (0, 0)):
        with pytest.raises(ValueError) as caught:
            pool.array(n, itemsize)
        assert str(caught.value) == (
            f"cannot allocate from pool '{name}': an array has 0 or more items of 1 byte or more, "
            f"not {n} of {itemsize}"
        )
    for n, itemsize in ((2**62, 8), (2**32, 2**32), (2**63 - 1, 2)):
        with pytest.raises(MemoryError, match=f"^cannot allocate from pool '{name}': out of mem"):
            pool.array(n, itemsize)
    with pytest.raises(OverflowError):
        pool.array(2**63, 1)
    assert pool.stats()["allocations"] == 2

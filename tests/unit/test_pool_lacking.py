"""Tiers and backings where a kernel or a sandbox lacks something, or a resource is used up."""

import ctypes
import errno
import mmap
import os
import re
import resource
import signal
from pathlib import Path

import pytest
import sandbox
from child import in_child
from tiers import TIERS, N, P, check_open, content, dies_of, libc, needs_seal, store

import pmalloc
from pmalloc import Pool

PAGE = mmap.PAGESIZE

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


# ---- what is used up ----------------------------------------------------------------------------


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

"""The tiers of protection, and what several tests ask of a pool in one of them."""

import ctypes
import os
import resource
import signal
from collections.abc import Callable

import pytest

import pmalloc
from pmalloc import Pool

libc = ctypes.CDLL(None, use_errno=True)
P, N = ctypes.c_void_p, ctypes.c_size_t
libc.syscall.restype = ctypes.c_long

CAN_SEAL = libc.syscall(ctypes.c_long(462), P(0), N(0), ctypes.c_ulong(0)) == 0
needs_seal = pytest.mark.skipif(not CAN_SEAL, reason="this kernel has no mseal")
needs_no_redzones = pytest.mark.skipif(
    os.environ.get("PMALLOC_HARDENED", "") not in {"", "0"},
    reason="about allocations that lie side by side; PMALLOC_HARDENED puts redzones between",
)

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

"""The attacks themselves: a function each, a few lines each.

A function gets the target, tries, and returns what a reader finds there afterwards: the
bytes, or None where reading would fault. An OSError is the kernel's refusal.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from . import calls
from .calls import FORGED, GENUINE, PAGE, READ_WRITE, libc, must, store

_MADV_WIPEONFORK = 18
_MADV_PAGEOUT = 21


class Target(Protocol):
    """A page that starts with GENUINE."""

    address: int
    plain: bool  # ordinary memory, not protected at all: the attack must work here
    pin: calls.Ring | None  # made before the page was protected
    file: int  # a descriptor of the memfd behind it; -1: none

    def seen(self) -> bytes | None:
        """What a reader finds there now."""
        ...


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to alter a page that is protected."""

    row: str  # of the table
    name: str
    run: Callable[[Target], bytes | None]
    needs: str = ""  # "pin": the page pinned beforehand; "file": one behind the page


ATTACKS: list[Attack] = []


def attack(row: str, name: str, needs: str = "") -> Callable[..., Callable[[Target], bytes | None]]:
    """Puts a function into the list."""

    def add(run: Callable[[Target], bytes | None]) -> Callable[[Target], bytes | None]:
        ATTACKS.append(Attack(row, name, run, needs))
        return run

    return add


# ---- stores ----


@attack("store", "a store")
def _store(target: Target) -> bytes | None:
    store(target.address, FORGED)
    return target.seen()


@attack("store", "a store by a forked child")
def _store_in_child(target: Target) -> bytes | None:
    def work() -> bytes | None:
        store(target.address, FORGED)
        return target.seen()

    return calls.in_child(work)


@attack("store", "read(2) into it")
def _system_call(target: Target) -> bytes | None:
    reading, writing = os.pipe()
    os.write(writing, FORGED)
    must(libc.read(reading, target.address, len(FORGED)))
    return target.seen()


# ---- making it writable ----


@attack("mprotect", "mprotect")
def _mprotect(target: Target) -> bytes | None:
    must(libc.mprotect(target.address, PAGE, READ_WRITE))
    store(target.address, FORGED)
    return target.seen()


@attack("mprotect", "pkey_mprotect")
def _pkey_mprotect(target: Target) -> bytes | None:
    must(libc.pkey_mprotect(ctypes.c_void_p(target.address), ctypes.c_size_t(PAGE), READ_WRITE, -1))
    store(target.address, FORGED)
    return target.seen()


# ---- putting something else there ----


@attack("replace", "munmap")
def _munmap(target: Target) -> bytes | None:
    must(libc.munmap(target.address, PAGE))
    calls.mmap_at(target.address, PAGE)
    store(target.address, FORGED)
    return target.seen()


@attack("replace", "mremap")
def _mremap(target: Target) -> bytes | None:
    room = calls.mmap_at(0, PAGE, fixed=False)
    must(libc.mremap(target.address, PAGE, PAGE, calls.MREMAP_MOVE_FIXED, room))
    calls.mmap_at(target.address, PAGE)
    store(target.address, FORGED)
    return target.seen()


@attack("replace", "mremap of other memory over it")
def _mremap_over(target: Target) -> bytes | None:
    room = calls.mmap_at(0, PAGE, fixed=False)
    store(room, FORGED)
    must(libc.mremap(room, PAGE, PAGE, calls.MREMAP_MOVE_FIXED, target.address))
    return target.seen()


@attack("replace", "MAP_FIXED")
def _map_fixed(target: Target) -> bytes | None:
    calls.mmap_at(target.address, PAGE)
    store(target.address, FORGED)
    return target.seen()


@attack("replace", "shmat")
def _shmat(target: Target) -> bytes | None:
    segment = must(libc.shmget(calls.IPC_PRIVATE, PAGE, calls.IPC_CREAT | 0o600))
    try:
        must(libc.shmat(segment, target.address, calls.SHM_REMAP))
    finally:
        libc.shmctl(segment, calls.IPC_RMID, None)
    store(target.address, FORGED)
    return target.seen()


@attack("replace", "remap_file_pages")
def _remap_file_pages(target: Target) -> bytes | None:
    """Shows another page of the same file there; there is none behind private memory."""
    must(libc.remap_file_pages(target.address, PAGE, 0, 1, 0))
    return target.seen()


# ---- taking the contents away ----


def _advise(target: Target, advice: int) -> None:
    must(libc.madvise(target.address, PAGE, advice))


@attack("discard", "MADV_DONTNEED")
def _dontneed(target: Target) -> bytes | None:
    _advise(target, mmap.MADV_DONTNEED)
    return target.seen()


@attack("discard", "MADV_FREE")
def _free(target: Target) -> bytes | None:
    _advise(target, mmap.MADV_FREE)
    # The kernel drops the page when it is short of memory, or asked to look at this one.
    with contextlib.suppress(OSError):
        _advise(target, _MADV_PAGEOUT)
    seen = target.seen()
    return b"" if seen == GENUINE else seen  # free to go: that it is still there is luck


@attack("discard", "MADV_REMOVE")
def _remove(target: Target) -> bytes | None:
    _advise(target, mmap.MADV_REMOVE)
    return target.seen()


@attack("discard", "MADV_WIPEONFORK")
def _wipeonfork(target: Target) -> bytes | None:
    _advise(target, _MADV_WIPEONFORK)
    return calls.in_child(target.seen)


@attack("dontfork", "MADV_DONTFORK")
def _dontfork(target: Target) -> bytes | None:
    _advise(target, mmap.MADV_DONTFORK)
    return calls.in_child(target.seen)


@attack("guard", "MADV_GUARD_INSTALL")
def _guard(target: Target) -> bytes | None:
    _advise(target, calls.MADV_GUARD_INSTALL)
    return target.seen()


@attack("uffd", "UFFDIO_COPY")
def _uffd(target: Target) -> bytes | None:
    if target.plain:  # on a page that is there it is refused anyway: take it away
        _advise(target, mmap.MADV_DONTNEED if target.file < 0 else mmap.MADV_REMOVE)
    calls.uffd_copy(target.address, FORGED)
    return target.seen()


# ---- going around the page's protection ----


@attack("proc-mem", "/proc/self/mem")
def _proc_mem(target: Target) -> bytes | None:
    memory = os.open("/proc/self/mem", os.O_RDWR)
    os.pwrite(memory, FORGED, target.address)
    return target.seen()


@attack("proc-mem", "ptrace")
def _ptrace(target: Target) -> bytes | None:
    return calls.poke_child(target.address, FORGED, target.seen)


@attack("vm-writev", "process_vm_writev")
def _vm_writev(target: Target) -> bytes | None:
    forged = ctypes.create_string_buffer(FORGED)
    here = calls.Span(ctypes.addressof(forged), len(FORGED))
    there = calls.Span(target.address, len(FORGED))
    spans = (ctypes.byref(here), ctypes.c_ulong(1), ctypes.byref(there), ctypes.c_ulong(1))
    must(libc.process_vm_writev(os.getpid(), *spans, ctypes.c_ulong(0)))
    return target.seen()


@attack("pinned", "io_uring", needs="pin")
def _io_uring(target: Target) -> bytes | None:
    assert target.pin is not None
    source = os.memfd_create("forged")
    os.write(source, FORGED)
    target.pin.read_into(source, target.address, len(FORGED))
    return target.seen()


# ---- the file behind it ----


@attack("file", "pwrite", needs="file")
def _pwrite(target: Target) -> bytes | None:
    for offset in range(0, os.fstat(target.file).st_size, PAGE):
        os.pwrite(_writable(target.file), FORGED, offset)
    return target.seen()


@attack("file", "ftruncate", needs="file")
def _ftruncate(target: Target) -> bytes | None:
    os.ftruncate(_writable(target.file), 0)
    return target.seen()


@attack("file", "punching a hole", needs="file")
def _punch(target: Target) -> bytes | None:
    size = ctypes.c_long(os.fstat(target.file).st_size)
    fd = _writable(target.file)
    must(libc.fallocate(fd, calls.FALLOC_PUNCH_HOLE, ctypes.c_long(0), size))
    return target.seen()


@attack("file", "a writable mapping", needs="file")
def _map_file(target: Target) -> bytes | None:
    fd = _writable(target.file)
    with mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED, READ_WRITE) as alias:
        at = alias.find(GENUINE)
        alias[at : at + len(FORGED)] = FORGED
    return target.seen()


def _writable(fd: int) -> int:
    """The memfd once more, open for writing: /proc lets its owner do that."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDWR)

"""What this machine allows: each thing is tried, in a child of its own, not looked up.

A version number says little: distributions leave features out, and sandboxes forbid them.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import multiprocessing
import os
import platform
import signal
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .attacks import arena, calls, table
from .attacks.calls import GENUINE, PAGE

OK = "ok"
MISSING = "missing"  # pmalloc works without it, and gives less
NOTE = "note"  # nothing is missing, and you should know
BROKEN = "broken"  # pmalloc does not do its work here

_HUGE = 2 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one probe."""

    name: str
    status: str
    detail: str
    consequence: str = ""  # where it is not ok
    remedy: str = ""


def _tried(work: Callable[[], str]) -> str | None:
    """Runs work() in a child; what was wrong with it, or None. An OSError is its errno."""

    def told() -> dict[str, Any]:
        try:
            return {"wrong": work()}
        except OSError as error:
            return {"wrong": errno.errorcode.get(error.errno or 0, str(error))}

    said = arena.in_arena(told)
    if "killed" in said:
        return f"killed by {signal.Signals(said['killed']).name}"
    return said.get("failed") or said["wrong"] or None


def _page() -> int:
    address = calls.mmap_at(0, PAGE, fixed=False)
    calls.store(address, GENUINE)
    return address


# ---- Python ----


def _python() -> Finding:
    build = "debug" if hasattr(sys, "gettotalrefcount") else "release"
    text = f"{platform.python_implementation()} {platform.python_version()}, {build} build"
    # pmalloc was imported, or there were no command: its self-test compared object layouts.
    return Finding(
        "Python", OK, f"{text}, {sysconfig.get_platform()}; self-test of object layouts passed"
    )


def _start_method() -> Finding:
    method = multiprocessing.get_all_start_methods()[0]  # the default, and asking fixes nothing
    if method == "fork":
        return Finding("multiprocessing", OK, "starts workers by fork: they share frozen objects")
    return Finding(
        "multiprocessing",
        NOTE,
        f"starts workers by {method}",
        "workers get frozen objects as pickled, thawed copies: nothing is shared",
        'ask for fork: multiprocessing.get_context("fork")',
    )


# ---- the tiers ----


def _protect() -> Finding:
    if why := arena.unavailable(table.PROTECT):
        return Finding(
            "protect()", BROKEN, why, "no pool can be protected", "read the reason given"
        )
    stored = arena.cell(table.ROWS[0], table.PROTECT)
    if stored.verdict == table.STOPS:
        return Finding("protect()", OK, "a store into a protected page was refused: SIGSEGV")
    return Finding(
        "protect()",
        BROKEN,
        f"a store into a protected page: {stored.verdict}",
        "nothing is protected here",
        "an emulator or a sandbox is in the way of mprotect: run on the kernel itself",
    )


def _seal() -> Finding:
    def work() -> str:
        address = _page()
        calls.must(calls.libc.mprotect(address, PAGE, mmap.PROT_READ))
        calls.seal(address, PAGE)
        back = calls.libc.mprotect(address, PAGE, calls.READ_WRITE)
        return "" if back == -1 else "mprotect undid it"

    wrong = _tried(work)
    wrong = arena.no_mseal(wrong) if wrong else arena.unavailable(table.SEAL)
    if not wrong:
        return Finding("protect(seal=True)", OK, "mseal works: a sealed page stays read-only")
    return Finding(
        "protect(seal=True)",
        MISSING,
        wrong,
        "it raises; whoever can make system calls can undo protect()",
        "Linux 6.10 or later; a seccomp filter must let mseal (number 462) through",
    )


def _immutable() -> Finding:
    def work() -> str:
        fd = os.memfd_create("probe", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.write(fd, GENUINE)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        try:
            os.pwrite(fd, b"x", 0)
        except PermissionError:
            return ""
        return "a sealed memfd was written"

    wrong = _tried(work) or arena.unavailable(table.IMMUTABLE)
    name = "protect(immutable=True)"
    if not wrong:
        return Finding(name, OK, "memfd seals and mseal work: nothing writes such a page again")
    return Finding(
        name,
        MISSING,
        wrong,
        "it raises; /proc/self/mem, ptrace and pages pinned beforehand can write protected pages",
        "Linux 6.10 or later; a sandbox must let memfd_create, F_ADD_SEALS and mseal through",
    )


# ---- what makes pools cheap, and reports good ----


def _guards() -> Finding:
    def work() -> str:
        address = _page()
        calls.must(calls.libc.madvise(address, PAGE, calls.MADV_GUARD_INSTALL))
        return "" if calls.load(address, 1) is None else "a guard page can be read"

    wrong = _tried(work)
    name = "guard markers"
    if not wrong:
        return Finding(name, OK, "MADV_GUARD_INSTALL works: a chunk takes one mapping")
    return Finding(
        name,
        MISSING,
        f"MADV_GUARD_INSTALL: {wrong}",
        "a chunk takes three mappings instead of one, and protecting many chunks takes longer",
        "Linux 6.13 or later; or larger chunks: Pool(name, chunk_size=...)",
    )


def _mappings() -> Finding:
    try:
        limit = int(Path("/proc/sys/vm/max_map_count").read_text())
    except (OSError, ValueError):
        return Finding("mappings", NOTE, "vm.max_map_count can't be read", "", "mount /proc")
    if limit >= 65530:
        return Finding("mappings", OK, f"a process may have {limit:,} (vm.max_map_count)")
    return Finding(
        "mappings",
        NOTE,
        f"a process may have {limit:,} only (vm.max_map_count)",
        "a process with very many chunks runs out of them: MemoryError",
        "sysctl vm.max_map_count=65530, or larger chunks: Pool(name, chunk_size=...)",
    )


def _names() -> Finding:
    def work() -> str:
        address = _page()
        calls.name_anonymous(address, PAGE, "pmalloc:probe")
        return "" if "[anon:pmalloc:probe]" in Path("/proc/self/maps").read_text() else "no effect"

    wrong = _tried(work)
    name = "names of mappings"
    if not wrong:
        return Finding(name, OK, "/proc/PID/maps shows [anon:pmalloc:NAME]")
    return Finding(
        name,
        MISSING,
        f"PR_SET_VMA_ANON_NAME: {wrong}",
        "/proc/PID/maps does not name pools",
        "`pmalloc maps PID` does, without it; else a kernel with CONFIG_ANON_VMA_NAME",
    )


def _huge_pages() -> Finding:
    def work() -> str:
        room = calls.mmap_at(0, 2 * _HUGE, fixed=False)
        start = (room + _HUGE - 1) & -_HUGE
        calls.must(calls.libc.madvise(start, _HUGE, mmap.MADV_HUGEPAGE))
        calls.store(start, GENUINE)
        smaps = Path("/proc/self/smaps").read_text().splitlines()
        huge = [line.split()[1] for line in smaps if line.startswith("AnonHugePages:")]
        return "" if any(int(kib) for kib in huge) else "the kernel gave small pages"

    wrong = _tried(work)
    if not wrong:
        return Finding("huge pages", OK, "MADV_HUGEPAGE works: chunks of 2 MiB get huge pages")
    return Finding(
        "huge pages",
        MISSING,
        f"MADV_HUGEPAGE: {wrong}",
        "pools above 2 MiB have small pages: more page tables, slower random reads",
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
    )


def _vm_readv() -> Finding:
    def work() -> str:
        return "" if calls.vm_readv(_page(), len(GENUINE)) == GENUINE else "wrong bytes"

    wrong = _tried(work)
    if not wrong:
        return Finding("process_vm_readv", OK, "works on the process itself")
    return Finding(
        "process_vm_readv",
        MISSING,
        wrong,
        "root() and reports read memory through a pipe, and /proc/self/maps: slower",
        "let the sandbox pass process_vm_readv to the process itself",
    )


# ---- what an attacker has ----


def _io_uring() -> Finding:
    def work() -> str:
        calls.Ring(_page(), PAGE)
        return ""

    wrong = _tried(work)
    if wrong:
        return Finding("io_uring", OK, f"can't pin pages: {wrong}")
    return Finding(
        "io_uring",
        NOTE,
        "registered buffers work",
        "pages that were registered before protect() are written through the registration, "
        "sealed or not",
        "do not register a pool's memory; protect(immutable=True); or sysctl "
        "kernel.io_uring_disabled=2",
    )


def _proc_mem() -> Finding:
    if not Path("/proc/self/maps").exists():
        return Finding(
            "/proc",
            MISSING,
            "not mounted",
            "`pmalloc maps` can't read any process, and reports may lack names",
            "mount -t proc proc /proc",
        )

    def work() -> str:
        address = _page()
        calls.must(calls.libc.mprotect(address, PAGE, mmap.PROT_READ))
        os.pwrite(os.open("/proc/self/mem", os.O_RDWR), b"x", address)
        return ""

    wrong = _tried(work)
    if wrong:
        return Finding("/proc", OK, f"/proc/self/mem does not write read-only pages: {wrong}")
    return Finding(
        "/proc",
        NOTE,
        "/proc/self/mem writes read-only pages",
        "whoever runs code in the process, or may ptrace it, can write protected and sealed pages",
        "protect(immutable=True); or boot with proc_mem.force_override=never, Linux 6.12 and later",
    )


def _ptrace() -> Finding:
    try:
        scope = int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    except (OSError, ValueError):
        scope = 0
    if scope == 0 or (os.geteuid() == 0 and scope < 3):
        return Finding("looking at processes", OK, "`pmalloc maps PID` may read what you own")
    return Finding(
        "looking at processes",
        NOTE,
        f"kernel.yama.ptrace_scope is {scope}",
        "`pmalloc maps PID` can read children of its own only"
        if scope == 1
        else "`pmalloc maps PID` needs root"
        if scope == 2
        else "`pmalloc maps PID` can read no process",
        "run it as root; or sysctl kernel.yama.ptrace_scope=0" if scope < 3 else "a reboot",
    )


PROBES: tuple[Callable[[], Finding], ...] = (
    *(_python, _protect, _seal, _immutable, _guards, _mappings, _huge_pages, _names, _vm_readv),
    *(_proc_mem, _ptrace, _io_uring, _start_method),
)


def run() -> list[Finding]:
    """All of them, in the order of their weight."""
    return [probe() for probe in PROBES]

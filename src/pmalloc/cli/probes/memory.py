"""Memory: the tiers of protection, and what the kernel has to make pools cheap."""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path

from pmalloc.cli.attacks import arena, calls, table
from pmalloc.cli.attacks.calls import GENUINE, PAGE

from . import python
from .finding import BROKEN, MISSING, NOTE, OK, Finding, page, tried

_HUGE = 2 << 20


# ---- the tiers ----


def protect() -> Finding:
    """The least of it: a store into a protected page ends the process."""
    if python.is_off():
        return Finding(
            "protect()",
            BROKEN,
            "PMALLOC_RODATA=off: in this process, too",
            "nothing is protected, and the rows below can't be tried",
            "unset PMALLOC_RODATA",
        )
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


def seal() -> Finding:
    """Nobody in the process can undo it."""

    def work() -> str:
        address = page()
        calls.must(calls.libc.mprotect(address, PAGE, mmap.PROT_READ))
        calls.seal(address, PAGE)
        back = calls.libc.mprotect(address, PAGE, calls.READ_WRITE)
        return "" if back == -1 else "mprotect undid it"

    wrong = tried(work)
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


def immutable() -> Finding:
    """Nobody at all can."""

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

    wrong = tried(work) or arena.unavailable(table.IMMUTABLE)
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


def guards() -> Finding:
    """Guard pages that take no mapping of their own."""

    def work() -> str:
        address = page()
        calls.must(calls.libc.madvise(address, PAGE, calls.MADV_GUARD_INSTALL))
        return "" if calls.load(address, 1) is None else "a guard page can be read"

    wrong = tried(work)
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


def mappings() -> Finding:
    """How many the kernel gives to a process."""
    try:
        limit = int(Path("/proc/sys/vm/max_map_count").read_text())
    except (OSError, ValueError):
        return Finding("mappings", NOTE, "vm.max_map_count can't be read", "", "mount /proc")
    try:
        used = len(Path("/proc/self/maps").read_text().splitlines())
    except OSError:
        used = 0
    if limit >= 65530:
        return Finding(
            "mappings", OK, f"a process may have {limit:,} (vm.max_map_count); this one has {used}"
        )
    return Finding(
        "mappings",
        NOTE,
        f"a process may have {limit:,} only (vm.max_map_count)",
        "a process with very many chunks runs out of them: MemoryError",
        "sysctl vm.max_map_count=65530, or larger chunks: Pool(name, chunk_size=...)",
    )


def names() -> Finding:
    """What /proc/PID/maps calls a pool."""

    def work() -> str:
        address = page()
        calls.name_anonymous(address, PAGE, "pmalloc:probe")
        return "" if "[anon:pmalloc:probe]" in Path("/proc/self/maps").read_text() else "no effect"

    wrong = tried(work)
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


def huge_pages() -> Finding:
    """For large pools."""

    def work() -> str:
        room = calls.mmap_at(0, 2 * _HUGE, fixed=False)
        start = (room + _HUGE - 1) & -_HUGE
        calls.must(calls.libc.madvise(start, _HUGE, mmap.MADV_HUGEPAGE))
        calls.store(start, GENUINE)
        smaps = Path("/proc/self/smaps").read_text().splitlines()
        huge = [line.split()[1] for line in smaps if line.startswith("AnonHugePages:")]
        return "" if any(int(kib) for kib in huge) else "the kernel gave small pages"

    wrong = tried(work)
    if not wrong:
        return Finding("huge pages", OK, "MADV_HUGEPAGE works: chunks of 2 MiB get huge pages")
    return Finding(
        "huge pages",
        MISSING,
        f"MADV_HUGEPAGE: {wrong}",
        "pools above 2 MiB have small pages: more page tables, slower random reads",
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
    )


def vm_readv() -> Finding:
    """How reports and root() read memory that may not be there."""

    def work() -> str:
        return "" if calls.vm_readv(page(), len(GENUINE)) == GENUINE else "wrong bytes"

    wrong = tried(work)
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


def io_uring() -> Finding:
    """Pages that are pinned for the kernel to write into."""

    def work() -> str:
        calls.Ring(page(), PAGE)
        return ""

    wrong = tried(work)
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


def proc_mem() -> Finding:
    """The way around the protection of pages: for attackers, and for audit."""
    if not Path("/proc/self/maps").exists():
        return Finding(
            "/proc",
            MISSING,
            "not mounted",
            "`pmalloc maps` can't read any process, and reports may lack names",
            "mount -t proc proc /proc",
        )

    def work() -> str:
        address = page()
        calls.must(calls.libc.mprotect(address, PAGE, mmap.PROT_READ))
        os.pwrite(os.open("/proc/self/mem", os.O_RDWR), b"x", address)
        return ""

    wrong = tried(work)
    if wrong:
        return Finding(
            "/proc",
            OK,
            f"/proc/self/mem does not write read-only pages: {wrong}; audit does without it",
        )
    return Finding(
        "/proc",
        NOTE,
        "/proc/self/mem writes read-only pages; audit makes use of it",
        "whoever runs code in the process, or may ptrace it, can write protected and sealed pages",
        "protect(immutable=True); or boot with proc_mem.force_override=never, Linux 6.12 and later",
    )

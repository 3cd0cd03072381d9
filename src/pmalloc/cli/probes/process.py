"""What is around a process: limits, a debugger, a sandbox, an emulator, the CPU."""

from __future__ import annotations

import os
import platform
import re
import resource
from pathlib import Path

from pmalloc.cli.attacks import calls

from .finding import NOTE, OK, Finding, tried

_PRELOADS = {
    "AddressSanitizer": r"libasan\.|libclang_rt\.asan",
    "ThreadSanitizer": r"libtsan\.|libclang_rt\.tsan",
    "UndefinedBehaviorSanitizer": r"libubsan\.|libclang_rt\.ubsan",
    "valgrind": r"vgpreload|/valgrind/",
    "rr": r"librrpreload|librrpage",
}


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _status(field: str) -> str:
    """A line of /proc/self/status; "" where it is not there."""
    found = re.search(rf"^{field}:\s*(.*)$", _read("/proc/self/status"), re.MULTILINE)
    return found[1] if found else ""


def address_space() -> Finding:
    """Ulimit -v."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return Finding("address space", OK, "unlimited")
    return Finding(
        "address space",
        NOTE,
        f"limited to {limit >> 20:,} MiB (ulimit -v)",
        "destroyed pools keep their addresses, so a program that makes and destroys many runs out: "
        "MemoryError",
        "ulimit -v unlimited; a cgroup's memory.max limits memory itself",
    )


def core_dumps() -> Finding:
    """Whether an oops leaves one."""
    pattern = _read("/proc/sys/kernel/core_pattern")
    limit = resource.getrlimit(resource.RLIMIT_CORE)[0]
    if pattern.startswith("|"):
        return Finding("core dumps", OK, f"go to {pattern[1:].split()[0]}")
    if limit:
        return Finding("core dumps", OK, f"on (kernel.core_pattern is {pattern or 'unknown'})")
    return Finding(
        "core dumps",
        NOTE,
        "off: ulimit -c is 0",
        "after a violation there is the report, and no core with the store in it",
        "ulimit -c unlimited",
    )


def debugger() -> Finding:
    """Whether somebody traces this process, and so what it starts."""
    tracer = _status("TracerPid")
    if tracer in {"", "0"}:
        return Finding("debugger", OK, "none is attached")
    command = _read(f"/proc/{tracer}/comm") or "?"
    return Finding(
        "debugger",
        NOTE,
        f"process {tracer} ({command}) traces this one",
        "it sees each SIGSEGV first, and single-stepping is its own: audit may stop there",
        "gdb: handle SIGSEGV nostop noprint pass; or run without it",
    )


def ptrace() -> Finding:
    """Who may read the memory of others."""
    try:
        scope = int(_read("/proc/sys/kernel/yama/ptrace_scope"))
    except ValueError:
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


def _container() -> str:
    if Path("/.dockerenv").exists():
        return "docker"
    if Path("/run/.containerenv").exists():
        return "podman"
    return os.environ.get("container", "") or _read("/run/systemd/container")  # noqa: SIM112


def sandbox() -> Finding:
    """Whether something filters system calls; what it refuses is in the other rows."""
    container = _container()
    where = f"in a container ({container})" if container else "in no container that shows"
    if _status("Seccomp") in {"", "0"}:
        return Finding("sandbox", OK, f"{where}; no seccomp filter")
    return Finding(
        "sandbox",
        NOTE,
        f"{where}; a seccomp filter is on",
        "it may refuse what the kernel has: the other rows say so, with EPERM or ENOSYS",
        "let mseal, memfd_create, process_vm_readv and tgkill pass; docker: a newer release, or "
        "--security-opt seccomp=PROFILE",
    )


def emulation() -> Finding:
    """Whether the CPU is a program."""
    machine, real = platform.machine(), _read("/proc/sys/kernel/arch")  # Linux 6.1 and later
    if not real or real == machine:
        return Finding("emulation", OK, f"none that shows: {machine}")
    return Finding(
        "emulation",
        NOTE,
        f"this is {machine}, and the kernel's machine is {real}: qemu-user or its like",
        "faults, single-stepping and mseal are the emulator's: the other rows say what works",
        "a native Python; or a whole virtual machine",
    )


def preloads() -> Finding:
    """Libraries that change how memory and signals work."""
    maps = _read("/proc/self/maps") + " " + os.environ.get("LD_PRELOAD", "")
    found = [name for name, pattern in _PRELOADS.items() if re.search(pattern, maps)]
    if not found:
        return Finding("sanitizers", OK, "none is loaded")
    return Finding(
        "sanitizers",
        NOTE,
        f"{', '.join(found)}: loaded",
        "it has a handler of SIGSEGV or an emulation of its own: reports come twice, or not",
        "see the row of the report; run without it to be sure",
    )


def cpu() -> Finding:
    """Shown only: which wide stores this CPU has, and whether it has protection keys."""

    def work() -> str:
        calls.pkey_alloc()
        return ""

    wrong = tried(work)
    keys = "protection keys: no" if wrong else "protection keys: yes"
    flags = set(re.findall(r"\w+", _read("/proc/cpuinfo").partition("\n\n")[0]))
    wide = [name for name in ("avx", "avx2", "avx512f", "sve") if name in flags]
    return Finding("CPU", OK, f"{keys}; wide stores: {', '.join(wide) or 'none that shows'}")

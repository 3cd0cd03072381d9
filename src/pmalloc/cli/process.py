"""Another process, looked at through /proc: what it has mapped, and what stands there.

Nothing of the process is stopped or changed. Reading its memory takes the permission to
ptrace it, and the messages here say who has that.
"""

from __future__ import annotations

import bisect
import dataclasses
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol, Self

_PROC = Path("/proc")
_LINE = re.compile(
    r"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([-rwxsp]{4}) ([0-9a-f]+) \S+ (\d+) *(.*)", re.ASCII
)


class ProcessError(Exception):
    """A process cannot be looked at. `kind` is a word for programs, the text is for people."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Unreadable(Exception):  # noqa: N818 - it is a fact about an address, not a failure
    """No such memory in the process, or no longer."""


class Memory(Protocol):
    """Bytes by address."""

    def read_some(self, address: int, size: int) -> bytes:
        """Up to `size` bytes, fewer where the memory ends before. Never raises."""
        ...


def read_exactly(memory: Memory, address: int, size: int) -> bytes:
    """Exactly that many bytes.

    Raises:
        Unreadable: they are not all there.
    """
    data = memory.read_some(address, size)
    if len(data) != size:
        raise Unreadable(f"no {size} bytes at {address:#x}")
    return data


@dataclass(frozen=True, slots=True)
class Mapping:
    """A line of /proc/PID/maps."""

    start: int
    end: int
    mode: str  # as there: "r--p"
    inode: int
    path: str  # "" for anonymous memory; the kernel's "[anon:...]" where it has names
    sealed: bool | None = None  # by mseal; None: maps does not tell, only smaps

    @property
    def backing(self) -> str:
        """`private`, `memfd` or `file`."""
        if self.path.startswith("/memfd:"):
            return "memfd"
        return "file" if self.inode else "private"


class Mappings:
    """All mappings of a process, in the order of their addresses."""

    def __init__(self, mappings: Iterable[Mapping]) -> None:
        self._all = sorted(mappings, key=lambda m: m.start)
        self._starts = [m.start for m in self._all]
        # A kernel that seals need not say so: Linux 6.10 has mseal, and no flag for it in smaps.
        self.tell_seals = any(m.sealed for m in self._all)

    def __iter__(self) -> Iterator[Mapping]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def of(self, start: int, size: int) -> list[Mapping] | None:
        """Those that cover the bytes; None where some of them are not mapped."""
        found: list[Mapping] = []
        at, end = start, start + size
        i = bisect.bisect_right(self._starts, start) - 1
        while 0 <= i < len(self._all) and at < end:
            mapping = self._all[i]
            if not mapping.start <= at < mapping.end:
                return None
            found.append(mapping)
            at = mapping.end
            i += 1
        return found if at >= end else None


def parse_maps(text: str) -> Mappings:
    """Reads /proc/PID/maps, or smaps, which says what is sealed, too."""
    found: list[Mapping] = []
    for line in text.splitlines():
        if m := _LINE.fullmatch(line):
            start, end = int(m[1], 16), int(m[2], 16)
            if start < end:
                found.append(Mapping(start, end, m[3], int(m[5]), m[6]))
        elif line.startswith("VmFlags:") and found:
            found[-1] = dataclasses.replace(found[-1], sealed="sl" in line.split())
    return Mappings(found)


class Process:
    """A process whose memory can be read. To be used in a `with`.

    Raises:
        ProcessError: no such process, it has ended, or it may not be looked into.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._folder = _PROC / str(pid)
        if not _PROC.joinpath("self").exists():
            raise ProcessError("no-proc", "/proc is not mounted here, and nothing else tells")
        self._born = self._start_time()
        try:
            self._mem = os.open(self._folder / "mem", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._gone()
        except PermissionError:
            raise ProcessError("no-permission", _why_not(pid)) from None
        except ProcessLookupError:
            raise ProcessError(
                "no-memory", f"process {pid} has no memory of its own: a kernel thread, or it ended"
            ) from None
        except OSError as error:
            raise ProcessError("no-memory", f"process {pid}: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._mem)

    def _gone(self) -> NoReturn:
        raise ProcessError("ended", f"process {self.pid} ended while it was read") from None

    def _start_time(self) -> str:
        """What tells a process from a later one with its number."""
        try:
            text = (self._folder / "stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            raise ProcessError("no-process", f"there is no process {self.pid}") from None
        fields = text.rpartition(")")[2].split()
        if fields[0] in "ZX":
            raise ProcessError(
                "ended", f"process {self.pid} has ended; its parent has not fetched its status"
            )
        return fields[19]

    def check_alive(self) -> None:
        """Raises ProcessError if the process has ended since it was opened."""
        try:
            same = self._start_time() == self._born
        except ProcessError:
            same = False
        if not same:
            self._gone()

    def command(self) -> str:
        """Its command line, arguments parted by spaces."""
        try:
            raw = (self._folder / "cmdline").read_bytes()[:4096]
        except OSError:
            return ""
        return raw.rstrip(b"\0").replace(b"\0", b" ").decode(errors="backslashreplace")

    def mappings(self, *, seals: bool = False) -> Mappings:
        """What it has mapped now. With `seals`, what is sealed, too: the kernel walks all pages."""
        try:
            raw = (self._folder / ("smaps" if seals else "maps")).read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            self._gone()
        except PermissionError:
            raise ProcessError("no-permission", _why_not(self.pid)) from None
        mappings = parse_maps(raw.decode(errors="backslashreplace"))
        if not len(mappings):
            self.check_alive()
            raise ProcessError(
                "no-memory",
                f"process {self.pid} has no memory of its own: a kernel thread, or it ended",
            )
        return mappings

    def read_some(self, address: int, size: int) -> bytes:
        """Up to `size` bytes, fewer where the memory ends before. Never raises."""
        if not 0 <= address < 1 << 57 or size <= 0:
            return b""
        parts: list[bytes] = []
        while size > 0:
            try:
                part = os.pread(self._mem, min(size, 1 << 20), address)
            except OSError:
                break
            if not part:
                break
            parts.append(part)
            address += len(part)
            size -= len(part)
        return b"".join(parts)


def _why_not(pid: int) -> str:
    """Why the kernel lets us not read the process, and what to do."""
    refused = f"no permission to read the memory of process {pid}: "
    try:
        status = (_PROC / str(pid) / "status").read_text(errors="replace")
        owner = int(re.findall(r"^Uid:\s+(\d+)", status, re.MULTILINE)[0])
    except (OSError, IndexError):
        return refused + "it is hidden from you; run this as its user, or as root"
    if owner != os.geteuid():
        return refused + f"it runs as user {owner}; run this as that user, or as root"
    try:
        scope = int((_PROC / "sys/kernel/yama/ptrace_scope").read_text())
    except (OSError, ValueError):
        scope = 0
    if scope == 1:
        return refused + (
            "kernel.yama.ptrace_scope is 1, so only its ancestors may; run this as root, set it "
            "to 0 with sysctl, or let the process call prctl(PR_SET_PTRACER, ...)"
        )
    if scope > 1:
        return refused + (
            f"kernel.yama.ptrace_scope is {scope}; "
            + ("run this as root" if scope == 2 else "nobody may, until the machine is rebooted")
        )
    return refused + (
        "it is not dumpable (set-uid, or prctl(PR_SET_DUMPABLE, 0)), in another user namespace, "
        "or a sandbox is around one of you; run this as root, outside"
    )


def pids() -> list[int]:
    """All processes that can be seen."""
    return sorted(int(p.name) for p in _PROC.iterdir() if p.name.isdecimal())

"""What the policies `warn` and `audit` let happen: the log, and the warning."""

from __future__ import annotations

import atexit
import os
import re
import signal
import threading
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType
from typing import Literal

from . import _core, _handler

_FRAME = re.compile(r'^  File "(.*)", line (\d+) in (.*)$')


class ProtectionWarning(RuntimeWarning):
    """Something wrote to a protected pool whose policy is `warn`; the write took effect."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A line of Python that was running."""

    filename: str
    lineno: int
    function: str


@dataclass(frozen=True, slots=True)
class Write:
    """One write.

    Attributes:
        thread: the kernel's id of the thread.
        address: of the first byte.
        size: bytes; 0 where the instruction was not decoded.
        pc: the address of the instruction.
        instruction: "mov", "lock inc"; "" where it was not decoded.
        object: where the allocation or the object starts that was hit; 0 for free space.
        before: the first 64 bytes at most, as they were.
        after: the same bytes as they are then; empty where that is not known.
        stepped: the instruction was single-stepped, not emulated.
    """

    thread: int
    address: int
    size: int
    pc: int
    instruction: str
    object: int
    before: bytes
    after: bytes
    stepped: bool

    @property
    def same_value(self) -> bool:
        """Whether it stored what was there already."""
        return bool(self.after) and self.before == self.after


@dataclass(frozen=True, slots=True)
class Violation:
    """What one writer did: one C function, on behalf of one line of Python, in one pool.

    Attributes:
        pool: its name.
        policy: what was done about it.
        count: how many writes.
        stepped: how many of them were single-stepped.
        when: the first.
        pc: the address of the instruction that made the first.
        module: the library it lies in; "" where it lies in no file.
        offset: in the library.
        symbol: the C function, with an offset; "" where it has no name. What functions without
            a name write is one writer's for the whole library.
        object: what the first write hit, in words.
        thread_name: of the thread that made it.
        frames: the Python stack at the first write, innermost line first.
        report: what went to stderr about it; "" where nothing did.
        writes: as many of them as the log has room for, oldest first.
    """

    pool: str
    policy: Literal["warn", "audit"]
    count: int
    stepped: int
    when: datetime
    pc: int
    module: str
    offset: int
    symbol: str
    object: str
    thread_name: str
    frames: tuple[Frame, ...]
    report: str
    writes: tuple[Write, ...]

    @property
    def filename(self) -> str:
        """The Python file; "" where no Python was running in that thread."""
        return self.frames[0].filename if self.frames else ""

    @property
    def lineno(self) -> int:
        """The line in it; 0 without."""
        return self.frames[0].lineno if self.frames else 0

    def __str__(self) -> str:
        """In one line: how many, where to, and who."""
        writes = "1 write" if self.count == 1 else f"{self.count:,} writes"
        where = self.module or "generated code"
        if self.symbol:
            where += f" ({self.symbol})"
        text = f"{writes} to pool {self.pool!r}, {self.object}, by {where}"
        if self.frames:
            text += f', File "{self.filename}", line {self.lineno} in {self.frames[0].function}'
        return text


def _frames(stack: str) -> tuple[Frame, ...]:
    """What faulthandler printed; a last line that was cut off is left out."""
    return tuple(
        Frame(_path(m[1]), int(m[2]), m[3])
        for line in stack.splitlines()
        if (m := _FRAME.match(line))
    )


def _path(printed: str) -> str:
    """A file name in which faulthandler wrote what is not ASCII as escapes."""
    return re.sub(
        r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))",
        lambda m: chr(int(m[1] or m[2] or m[3], 16)),
        printed,
    )


def all_writers() -> list[Violation]:
    """Every writer there is room for, in the order of their first writes."""
    writers, writes = _core.violations()
    by_writer: list[list[Write]] = [[] for _ in writers]
    for number, stepped, pc, instruction, thread, size, address, start, before, after in writes:
        by_writer[number].append(
            Write(
                *(thread, address, size, pc, instruction or "", start),
                *(before, after, bool(stepped)),
            )
        )
    found: list[Violation] = []
    for told, done in zip(writers, by_writer, strict=True):
        _, pool, policy, count, stepped, seconds, pc, module, offset = told[:9]
        name, name_offset, obj, thread_name, stack, report = told[9:]
        symbol = f"{name}+{name_offset:#x}" if name else ""
        when = datetime.fromtimestamp(seconds, UTC)
        found.append(
            Violation(
                *(pool, policy, count, stepped, when, pc, module, offset, symbol),
                *(obj, thread_name, _frames(stack), report, tuple(done)),
            )
        )
    return found


def violations() -> list[Violation]:
    """The writes to protected pools that `warn` or `audit` let happen in this process.

    Grouped by writer: one C function, on behalf of one line of Python, in one pool. The log holds
    512 writers and 16,384 writes; `count` is exact all the same, and a pool's ``stats()`` say how
    many writes it had no room for: "violations_dropped". A forked child starts with an empty log.

    Returns:
        One record for each writer, in the order of their first writes.
    """
    return [violation for violation in all_writers() if violation.count]


# ---- the warning ----

_told = 0  # writers that were warned about, or need no warning
_signal = 0
_listening = False
_lock = threading.Lock()
_once_more = False  # somebody came while another was at it


def _message(violation: Violation) -> str:
    first = violation.writes[0] if violation.writes else None
    what = ""
    if first and first.size:
        what = f"{first.size} {'byte' if first.size == 1 else 'bytes'} at {first.address:#x}, "
    where = violation.module or "generated code"
    if violation.symbol:
        where += f" ({violation.symbol})"
    return (
        f"write to protected pool {violation.pool!r}: {what}{violation.object}, by {where}; "
        "it took effect, and the page is writable now"
    )


def warn_of_new() -> None:
    """Issues a ProtectionWarning for each writer to a `warn` pool that was not told of before."""
    global _told, _once_more
    _once_more = True
    # Never waits: a signal may have interrupted the one who is at it.
    while _once_more and _lock.acquire(blocking=False):
        try:
            _once_more = False
            new = all_writers()[_told:]
            _told += len(new)
        finally:
            _lock.release()
        for number, violation in enumerate(new, 1):
            try:
                if violation.policy == "warn":
                    _warn_of(violation)
            except BaseException:  # a filter may make it one: the others have their turn later
                with _lock:
                    _told -= len(new) - number
                raise


def _warn_of(violation: Violation) -> None:
    warnings.warn_explicit(
        _message(violation),
        ProtectionWarning,
        violation.filename or "<unknown>",
        violation.lineno or 1,
    )


def _in_child() -> None:
    """Of fork(): what the parent has seen is not in this log."""
    global _told, _lock
    _told, _lock = 0, threading.Lock()


os.register_at_fork(after_in_child=_in_child)


def _on_signal(_number: int, _frame: FrameType | None) -> None:
    warn_of_new()


def listen() -> None:
    """Lets the main thread be woken for warnings; once, when the first `warn` pool is made.

    Only the main thread may say which handler a signal has. Made in another one, the warning comes
    with the next pool that is made or protected, or at exit.
    """
    global _signal, _listening
    if not _listening:
        _listening = True
        atexit.register(warn_of_new)
    if not _signal and threading.current_thread() is threading.main_thread():
        _signal = _handler.free_signal()
        if _signal:
            signal.signal(_signal, _on_signal)
            _core.set_violation_signal(_signal)
    warn_of_new()

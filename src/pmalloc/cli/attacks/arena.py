"""Where attacks are tried: each in a child of its own, on a pool of one page.

    doctor ---fork---> child: makes a pool of the tier, attacks it, reads it back
              <-pipe-- what the call answered, what stands there, or nothing: it was killed

Before that, the same attack is tried on ordinary memory of the same kind, which nothing
protects. Where it does not work there, the kernel has it not, or a sandbox forbids it, and
the cell says so: an attack that cannot succeed anywhere would prove nothing.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import json
import mmap
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pmalloc import PmallocError, Pool, SealedError, _core

from . import calls, table, tries
from .calls import GENUINE, PAGE

NOT_HERE = "not here"  # it does not work on ordinary memory either
_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Try:
    """What came of one attack on one tier."""

    name: str
    verdict: str  # a word of the table, or NOT_HERE
    detail: str


@dataclass(frozen=True, slots=True)
class Cell:
    """A row of the table on a tier: the worst of its attacks."""

    verdict: str  # a word of the table; where `here` is false, what this machine lacks
    expected: str
    tries: tuple[Try, ...]
    here: bool = True

    @property
    def surprising(self) -> bool:
        """Not what the table says, although the machine has what it takes."""
        return self.here and self.verdict != self.expected


# ---- targets ----


class Plain:
    """Ordinary, writable memory: private, or of a memfd."""

    plain = True
    pin: calls.Ring | None = None

    def __init__(self, *, shared: bool) -> None:
        self.file = -1
        if shared:
            self.file = os.memfd_create("plain", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(self.file, 2 * PAGE)
        flags = mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self.address = calls.must(
            calls.libc.mmap(None, PAGE, calls.READ_WRITE, flags, self.file, 0)
        )
        calls.store(self.address, GENUINE)

    def protect(self) -> None:
        """It stays as it is."""

    def seen(self) -> bytes | None:
        """What a reader finds there now."""
        return calls.load(self.address, len(GENUINE))


class Protected:
    """A pool of one page, of a tier."""

    plain = False
    pin: calls.Ring | None = None

    def __init__(self, tier: str, mode: str = "ro") -> None:
        self.tier = tier
        options: dict[str, Any] = {"on_violation": "oops", "mode": mode}
        if tier == table.IMMUTABLE:
            options["backing"] = "memfd"
        self.pool = Pool(f"attacked {mode}", chunk_size=PAGE, **options)
        self.allocation = self.pool.alloc(PAGE, align=PAGE)  # hardened: redzones around it
        self.address = self.allocation.address
        with memoryview(self.allocation) as view:
            view[: len(GENUINE)] = GENUINE
        self.file = -1

    def protect(self) -> None:
        """As far as the tier goes.

        Raises:
            PmallocError, OSError: this kernel has not what it takes, or refuses it now.
        """
        if self.tier == table.PROTECT:
            self.pool.protect()
        else:
            options: dict[str, Any] = {self.tier: True}
            self.pool.protect(**options)
        if self.tier == table.IMMUTABLE:
            self.file = _file_behind(self.address)

    def seen(self) -> bytes | None:
        """What a reader finds there now."""
        return calls.load(self.address, len(GENUINE))


def _file_behind(address: int) -> int:
    """The descriptor of the file that is mapped there, found as an attacker would; -1: none."""
    inode = None
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, _, _, number, *_ = line.split(None, 5)
        low, high = (int(word, 16) for word in span.split("-"))
        if low <= address < high:
            inode = int(number)
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if inode and os.fstat(int(entry.name)).st_ino == inode:
                return int(entry.name)
    return -1


# ---- one attack in one child ----


def _attempt(make: Callable[[], Plain | Protected], attack: tries.Attack) -> dict[str, Any]:
    """In the child: makes the target, attacks it, and says what was seen."""
    target = make()
    if attack.needs == "pin":
        try:
            target.pin = calls.Ring(target.address, PAGE)
        except OSError as error:
            return {"missing": _errno(error)}
    try:
        target.protect()
    except (BufferError, OSError, RuntimeError) as error:
        if target.pin is None:
            raise
        why = _errno(error) if isinstance(error, OSError) else str(error)
        return {"refused": f"protect refuses: {why}", "seen": _hex(target.seen())}
    try:
        return {"error": None, "seen": _hex(attack.run(target))}
    except calls.Killed as killed:
        return {"killed": killed.number}
    except OSError as error:
        if target.plain:  # whatever it did on the way, it does not work here
            return {"missing": _errno(error)}
        return {"error": _errno(error), "seen": _hex(target.seen())}


def _hex(data: bytes | None) -> str | None:
    return None if data is None else data.hex()


def _errno(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "?")


def in_arena(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Runs work() in a forked child that may die: {"killed": N} where it did.

    Nothing it prints is seen, it leaves no core, and it has half a minute.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _quieten()
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - whoever asked is told
                result = {"failed": f"{type(error).__name__}: {error}"}
            os.write(writing, json.dumps(result).encode())
        finally:
            os._exit(0)
    os.close(writing)
    told = b""
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], _SECONDS)[0]:
            part = pipe.read(1 << 16)
            if not part:
                break
            told += part
        else:
            os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        return {"killed": -status}
    answer: dict[str, Any] = json.loads(told or b'{"failed": "the attempt told nothing"}')
    return answer


def _quieten() -> None:
    faulthandler.disable()
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _judge(attack: tries.Attack, told: dict[str, Any]) -> Try:
    """From what the child saw to a word of the table."""
    if "failed" in told:
        return Try(attack.name, NOT_HERE, told["failed"])
    if "missing" in told:
        return Try(attack.name, NOT_HERE, told["missing"])
    if "killed" in told:
        if told["killed"] != signal.SIGSEGV:
            name = signal.Signals(told["killed"]).name
            return Try(attack.name, NOT_HERE, f"the attacker died of {name}")
        return Try(attack.name, table.STOPS, "SIGSEGV")
    intact = told["seen"] == GENUINE.hex()
    if "refused" in told:
        verdict = table.STOPS if intact else table.NO
        return Try(attack.name, verdict, told["refused"])
    if told["seen"] is None:
        return Try(attack.name, table.DENIAL, "can't be read any more")
    if not intact:
        what = "may go at any time" if told["seen"] == "" else "changed"
        return Try(attack.name, table.NO, what)
    if told["error"]:
        return Try(attack.name, table.STOPS, told["error"])
    return Try(attack.name, table.NO_EFFECT, "accepted")


# ---- the table ----


_ORDER = (table.NO, table.DENIAL)  # worst first


def _worst(found: list[Try]) -> str | None:
    verdicts = {one.verdict for one in found} - {NOT_HERE}
    for verdict in _ORDER:
        if verdict in verdicts:
            return verdict
    if verdicts == {table.STOPS, table.NO_EFFECT}:
        return table.MIXED
    return verdicts.pop() if verdicts else None


def unavailable(tier: str) -> str | None:
    """Why this machine cannot make a pool of the tier; None where it can."""

    def protect() -> dict[str, Any]:
        Protected(tier).protect()
        return {}

    def seal() -> dict[str, Any]:
        try:
            calls.seal(calls.mmap_at(0, PAGE, fixed=False), PAGE)
        except OSError as error:
            return {"error": _errno(error)}
        return {"error": None}

    told = in_arena(protect)
    why: str | None = "the attempt was killed" if "killed" in told else told.get("failed")
    if why and tier != table.PROTECT and (reason := in_arena(seal).get("error")):
        return no_mseal(reason)
    return why


def no_mseal(reason: str) -> str:
    """In words, from the name of an errno."""
    return "no mseal in this kernel" if reason == "ENOSYS" else f"mseal is refused: {reason}"


def _run(attack: tries.Attack, make: Callable[[], Plain | Protected]) -> Try:
    return _judge(attack, in_arena(partial(_attempt, make, attack)))


def _attacks(row: table.Row, tier: str) -> Iterator[Try]:
    kind = tier == table.IMMUTABLE
    for attack in tries.ATTACKS:
        if attack.row != row.key or (attack.needs == "file" and not kind):
            continue
        control = _run(attack, partial(Plain, shared=kind))
        if control.verdict == NOT_HERE:
            yield Try(attack.name, NOT_HERE, control.detail)
        else:
            yield _run(attack, partial(Protected, tier))


def _destroy(tier: str) -> Try:
    def work() -> dict[str, Any]:
        target = Protected(tier)
        target.protect()
        try:
            target.pool.destroy()
        except SealedError as error:
            return {"verdict": table.NO, "detail": str(error)}
        return {"verdict": table.YES, "detail": target.pool.state}

    return _said("destroy()", in_arena(work))


_READER = """
import mmap, os, sys
fd = int(sys.argv[1])
with mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED, mmap.PROT_READ) as seen:
    print(seen.find(sys.argv[2].encode()) >= 0)
"""


def _shared(tier: str) -> Try:
    def work() -> dict[str, Any]:
        target = Protected(tier)
        target.protect()
        try:
            fd = target.pool.fileno()
        except PmallocError as error:
            return {"verdict": table.NO, "detail": str(error)}
        done = subprocess.run(  # noqa: S603 - this very Python
            [sys.executable, "-I", "-c", _READER, str(fd), GENUINE.decode()],
            pass_fds=[fd],
            stdout=subprocess.PIPE,
            check=True,
        )
        found = done.stdout == b"True\n"
        return {"verdict": table.YES if found else table.NO, "detail": "by file descriptor"}

    return _said("file descriptor", in_arena(work))


# ---- rare writes ----


def _is_rare(target: Protected) -> bool:
    """Whether a rare write is let through, and lands."""
    data = os.urandom(len(GENUINE))
    try:
        _core.rare_probe(target.allocation, data, 1)
        through = True
    except PmallocError:
        through = False
    with memoryview(target.allocation) as view:
        landed = bytes(view[: len(data)]) == data
    if landed != through:
        raise RuntimeError("a rare write that was refused landed, or the other way round")
    return through


def _missing_for_rare_writes(tier: str) -> dict[str, Any] | None:
    """What a sealed pool needs of this kernel, and is not there."""
    if tier == table.SEAL and (reason := calls.proc_mem_error()):
        return {"failed": f"/proc/self/mem: {errno.errorcode.get(reason, '?')}"}
    return None


def _rare_write(tier: str) -> Try:
    """Of a pool that is write-rare: now, and once /proc/self/mem can't be had any more."""

    def never() -> dict[str, Any]:
        fixed, rare = Protected(tier), Protected(tier, "wr")
        fixed.protect()
        try:
            rare.protect()
        except ValueError as error:
            verdict = table.YES if _is_rare(fixed) else table.NEVER
            return {"verdict": verdict, "detail": str(error)}
        return {"verdict": table.YES, "detail": "a pool of mode 'wr' became immutable"}

    def work() -> dict[str, Any]:
        target = Protected(tier, "wr")
        target.protect()
        if (missing := _missing_for_rare_writes(tier)) is not None:
            return missing
        by = [target.pool.stats()["rare_write"]]
        now = _is_rare(target)
        calls.shut_proc_mem()
        by.append(target.pool.stats()["rare_write"])
        then = _is_rare(target)
        verdict = table.YES if now and then else table.BY_MEM if now else table.NO
        return {"verdict": verdict, "detail": f"{by[0]}; without /proc/self/mem: {by[1]}"}

    return _said("rare_write", in_arena(never if tier == table.IMMUTABLE else work))


def _made_ro(tier: str) -> Try:
    def work() -> dict[str, Any]:
        target = Protected(tier, "wr")
        target.protect()
        if (missing := _missing_for_rare_writes(tier)) is not None:
            return missing
        target.pool.make_ro()
        return {"verdict": table.YES if _is_rare(target) else table.NEVER, "detail": ""}

    return _said("rare_write after make_ro()", in_arena(work))


def _rare_cell(row: table.Row, tier: str) -> Cell:
    found = [_rare_write(tier)]
    if tier != table.IMMUTABLE:
        found.append(_made_ro(tier))
    first, last = found[0], found[-1]
    if first.verdict == NOT_HERE:
        why = f"{NOT_HERE}: {first.name}: {first.detail}"
        return Cell(why, row.expected(tier), tuple(found), here=False)
    after = ", after make_ro() too" if last is not first and last.verdict != table.NEVER else ""
    return Cell(first.verdict + after, row.expected(tier), tuple(found))


def _said(name: str, told: dict[str, Any]) -> Try:
    if "verdict" in told:
        return Try(name, told["verdict"], told["detail"])
    return Try(name, NOT_HERE, told.get("failed") or "the attempt was killed")


def cell(row: table.Row, tier: str) -> Cell:
    """Tries a row of the table on a tier, on the running kernel."""
    if row.key == "rare-write":
        return _rare_cell(row, tier)
    if row.key == "destroy":
        found = [_destroy(tier)]
    elif row.key == "shared":
        found = [_shared(tier)]
    else:
        found = list(_attacks(row, tier))
    if not found:
        found = [Try("any", table.NO_FILE, "")]
    verdict, expected = _worst(found), row.expected(tier)
    if verdict is None:
        why = f"{NOT_HERE}: {found[0].name}: {found[0].detail}"
        return Cell(why, expected, tuple(found), here=False)
    return Cell(verdict, expected, tuple(found))


def run() -> dict[str, dict[str, Cell]]:
    """The whole table: by row, by tier.

    Each cell of a tier that this machine has not says what is missing.
    """
    missing = {tier: unavailable(tier) for tier in table.TIERS}
    rows: dict[str, dict[str, Cell]] = {}
    for row in table.ROWS:
        rows[row.key] = {
            tier: cell(row, tier)
            if (why := missing[tier]) is None
            else Cell(why, row.expected(tier), (), here=False)
            for tier in table.TIERS
        }
    return rows

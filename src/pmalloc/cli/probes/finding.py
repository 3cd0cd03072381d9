"""What a probe says, and how it tries something: in a child of its own, which may die of it."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pmalloc.cli.attacks import arena, calls
from pmalloc.cli.attacks.calls import GENUINE, PAGE

OK = "ok"
MISSING = "missing"  # pmalloc works without it, and gives less
NOTE = "note"  # nothing is missing, and you should know
BROKEN = "broken"  # pmalloc does not do its work here


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one probe."""

    name: str
    status: str
    detail: str
    consequence: str = ""  # where it is not ok
    remedy: str = ""
    measured: dict[str, float | str] = field(default_factory=dict[str, "float | str"])  # for JSON


def tried(work: Callable[[], str]) -> str | None:
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


def page() -> int:
    """The address of a writable page, with something in it."""
    address = calls.mmap_at(0, PAGE, fixed=False)
    calls.store(address, GENUINE)
    return address

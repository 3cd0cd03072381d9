"""Rare writes: by which way they would be made, tried, and what each costs here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal

from pmalloc import Pool, _core, _rare_fallback
from pmalloc.cli.attacks import arena, calls

from . import python
from .finding import MISSING, NOTE, OK, Finding, tried

_TIMES = 1000
_CHUNK = 16 << 10  # what a pool begins with
_WORD = b"rarely!!"
_OFF = "unset PMALLOC_RODATA"
_BY = {
    "proc_mem": "by /proc/self/mem",
    "memfd": "by pwrite to the pool's memfd",
    "mprotect": "by a window",
}


def _each(probe: Callable[[], float]) -> float:
    """Microseconds for one of _TIMES: the best of some rounds, others may be busy."""
    return round(min(probe() for _ in range(5)) / _TIMES * 1e6, 2)


def _tried(backing: Literal["private", "memfd"]) -> dict[str, Any]:
    """In a child: makes a pool, protects it, and writes to it."""

    def work() -> dict[str, Any]:
        _rare_fallback.silence()  # it is what this is about
        pool = Pool("probe", backing=backing, mode="wr")
        target = pool.alloc(len(_WORD))
        pool.protect()
        by = pool.stats()["rare_write"]
        each = _each(lambda: _core.rare_probe(target, _WORD, _TIMES))
        with memoryview(target) as view:
            if bytes(view) != _WORD:
                return {"failed": "a rare write that is not there"}
        return {"by": by, "each": each, "why": _rare_fallback.why(backing)}

    return arena.in_arena(work)


def _finding(backing: Literal["private", "memfd"]) -> Finding:
    name = f"rare writes, {backing}"
    told = _tried(backing)
    if "by" not in told:
        return Finding(
            name,
            MISSING,
            told.get("failed") or "the attempt was killed",
            f"Pool(..., mode='wr', backing='{backing}') does not do its work",
            "see the rows of protect() and of protect(immutable=True)",
        )
    by: str = told["by"]
    measured: dict[str, float | str] = {"mechanism": by, "microseconds": told["each"]}
    cost = f"{told['each']:.2f} us for 8 bytes"
    if by in {"proc_mem", "memfd"}:
        detail = f"{_BY[by]}: no page becomes writable; {cost}"
        return Finding(name, OK, detail, measured=measured)
    if by == "plain":
        return Finding(
            name, NOTE, f"by ordinary stores: {cost}", "nothing is protected", _OFF, measured
        )
    reason, remedy = told["why"]
    detail = f"{_BY.get(by, by)}, because {reason}; {cost}"
    return Finding(name, MISSING, detail, _rare_fallback.CONSEQUENCE, remedy, measured)


def private() -> Finding:
    """Of pools of private memory."""
    return _finding("private")


def memfd() -> Finding:
    """Of pools that are a memfd."""
    return _finding("memfd")


def window() -> Finding:
    """What the last resort would cost, alone and beside a thread that other cores must tell."""

    def work() -> dict[str, Any]:
        alone = _each(lambda: _core.window_probe(_CHUNK, _TIMES))
        stop = threading.Event()

        def spin() -> None:
            while not stop.is_set():
                pass

        thread = threading.Thread(target=spin)
        thread.start()
        try:
            beside = _each(lambda: _core.window_probe(_CHUNK, _TIMES))
        finally:
            stop.set()
            thread.join()
        return {"alone": alone, "beside": beside}

    name = "rare writes by a window"
    if python.is_off():
        return Finding(
            name, NOTE, "not tried", "nothing is protected, so there is nothing to open", _OFF
        )
    told = arena.in_arena(work)
    if "alone" not in told:
        return Finding(
            name,
            MISSING,
            told.get("failed") or "the attempt was killed",
            "where no other way is to be had, rare writes are refused",
            "a sandbox must let mprotect and madvise through",
        )
    return Finding(
        name,
        OK,
        f"the last resort works: {told['alone']:.2f} us for 8 bytes in a chunk of 16 KiB, "
        f"{told['beside']:.2f} us beside a second thread",
        measured={
            "mechanism": "mprotect",
            "microseconds": told["alone"],
            "microseconds_second_thread": told["beside"],
        },
    )


def key() -> Finding:
    """The way that is not taken yet."""

    def work() -> str:
        calls.pkey_alloc()
        return ""

    wrong = tried(work)
    has = f"this machine has none ({wrong})" if wrong else "this machine has them"
    return Finding("rare writes by a key", OK, f"protection keys: {has}; kept for a later version")

"""The init phase: what its end costs besides the system calls, and an init function during init.

the end      a fresh process registers 10,000 arrays, or allocations, of 1 GB together, and ends
             init with the clock around mark_rodata_ro(). In another one, protect_peer.c notes
             which calls that makes, and makes them in a loop in C.
functions    a call of a function that is marked @init, against one that is not
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from os import environ
from pathlib import Path
from statistics import median
from time import perf_counter_ns

from bench_protect import compile_peer, load_peer
from table import Row, time_text

import pmalloc

ENTRIES = 10_000
FACTOR = 1.2
EXTRA = 20e-3
CALL_EXTRA = 60e-9
CALLS = 100_000


# ---- in a fresh process ----


def register(kind: str, total: int) -> None:
    """Fills the global pool; what is registered is kept by the phase."""
    pool = pmalloc.global_pool()
    size = total // ENTRIES
    for number in range(ENTRIES):
        made = pool.ndarray(size, "u1") if kind == "arrays" else pool.alloc(size)
        pmalloc.ro_after_init(made, name=f"entry {number}")


def end(kind: str, total: int, by_peer: bool) -> float:
    """Seconds of mark_rodata_ro(), or of its system calls from C."""
    register(kind, total)
    if not by_peer:
        start = perf_counter_ns()
        pmalloc.mark_rodata_ro()
        return (perf_counter_ns() - start) * 1e-9
    peer = load_peer()
    peer.peer_note()
    pmalloc.mark_rodata_ro()
    elapsed = peer.peer_replay()
    assert elapsed >= 0, "a noted call failed when it was made"
    assert peer.peer_calls(), "mark_rodata_ro() made no mprotect() that the peer could note"
    return float(elapsed) * 1e-9


# ---- in the benchmark ----


def ask(kind: str, total: int, by_peer: bool, library: Path) -> float:
    done = subprocess.run(
        [sys.executable, __file__, kind, str(total), str(int(by_peer))],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**environ, "LD_PRELOAD": str(library)},
    )
    seconds: float = json.loads(done.stdout)
    return seconds


def _ends(quick: bool) -> list[Row]:
    total, rounds = (100_000_000, 3) if quick else (1_000_000_000, 7)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        library = compile_peer(folder)
        if library is None:
            print("No C compiler: mark_rodata_ro() is not measured.", file=sys.stderr)
            return []
        for kind in ("arrays", "allocations"):
            ours: list[float] = []
            theirs: list[float] = []
            for turn in range(rounds):
                for by_peer in (bool(turn % 2), not turn % 2):
                    (theirs if by_peer else ours).append(ask(kind, total, by_peer, library))
            mine, bare = median(ours), median(theirs)
            size = f"{total // 1_000_000_000} GB" if total >= 10**9 else f"{total // 10**6} MB"
            rows.append(
                Row(
                    section="The end of init, against its own system calls made from C",
                    name=f"mark_rodata_ro(), {size} in {ENTRIES:,} {kind}",
                    ordinary=time_text(bare),
                    frozen=time_text(mine),
                    ratio=mine / bare,
                    verdict=mine <= FACTOR * bare + EXTRA,
                    goal_text="<= 1.2 + 20 ms",
                    raw={"frozen_s": mine, "ordinary_s": bare, "bytes": float(total)},
                )
            )
    return rows


def _plain(a: int) -> int:
    return a


def _marked(a: int) -> int:
    return a


class _Plain:
    def method(self) -> None: ...


class _Marked:
    def method(self) -> None: ...


def _per_call(function: Callable[..., object], argument: object) -> float:
    start = perf_counter_ns()
    for _ in range(CALLS):
        function(argument)
    return (perf_counter_ns() - start) * 1e-9 / CALLS


def _calls(quick: bool) -> list[Row]:
    pmalloc.init(_marked)
    pmalloc.init(_Marked.method)
    rows = []
    for name, plain, marked, argument in (
        ("a function", _plain, _marked, 1),
        ("a method", _Plain.method, _Marked.method, None),
    ):
        ordinary: list[float] = []
        ours: list[float] = []
        for _ in range(5 if quick else 41):
            ordinary.append(_per_call(plain, argument))
            ours.append(_per_call(marked, argument))
        bare, mine = median(ordinary), median(ours)
        rows.append(
            Row(
                section="A call of an init function during init, against one that is not marked",
                name=f"{name}, a call",
                ordinary=f"{bare * 1e9:.1f} ns",
                frozen=f"{mine * 1e9:.1f} ns",
                ratio=mine / bare,
                verdict=mine <= bare + CALL_EXTRA,
                goal_text="<= 60 ns more",
                raw={"frozen_s": mine, "ordinary_s": bare},
            )
        )
    return rows


def run(quick: bool = False) -> list[Row]:
    return _ends(quick) + _calls(quick)


if __name__ == "__main__":
    print(json.dumps(end(sys.argv[1], int(sys.argv[2]), bool(int(sys.argv[3])))))

"""pool.protect() against the same system calls, issued from C.

protect_peer.c is compiled and preloaded into a fresh Python. There, pools of N
chunks are filled in pairs. One is protected, and the clock runs around the whole
Python call. Of the other, protect_peer notes which calls protect() makes, without
making them, and then makes them in a loop in C, with the clock around that.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

from table import Row, time_text

import pmalloc

SOURCE = Path(__file__).with_name("protect_peer.c")
CHUNK = 4096
COUNTS = (1, 64, 4096)
FACTOR = 1.2
EXTRA = 3e-6


# ---- in the fresh process ----


def load_peer() -> ctypes.CDLL:
    """The preloaded library; it is found by its path in LD_PRELOAD."""
    peer = ctypes.CDLL(os.environ["LD_PRELOAD"])
    peer.peer_calls.restype = ctypes.c_size_t
    peer.peer_others.restype = ctypes.c_size_t
    peer.peer_replay.restype = ctypes.c_longlong
    return peer


def filled_pool(name: str, chunks: int) -> pmalloc.Pool:
    pool = pmalloc.Pool(name, chunk_size=CHUNK)
    for _ in range(chunks):
        ctypes.memset(pool.alloc(CHUNK).address, 1, CHUNK)
    assert pool.stats()["chunks"] == chunks
    return pool


def by_pmalloc(chunks: int) -> float:
    """Seconds of pool.protect()."""
    pool = filled_pool("measured", chunks)
    start = perf_counter_ns()
    pool.protect()
    elapsed = perf_counter_ns() - start
    pool.destroy()
    return elapsed * 1e-9


def by_peer(peer: ctypes.CDLL, chunks: int) -> tuple[float, int, int]:
    """Seconds of the same calls from C; how many mprotect and other ones these are."""
    pool = filled_pool("replayed", chunks)
    peer.peer_note()
    pool.protect()
    elapsed = peer.peer_replay()
    assert elapsed >= 0, "a noted call failed when it was made"
    calls = peer.peer_calls()
    assert calls, "protect() made no mprotect() that the peer could note"
    pool.destroy()
    return elapsed * 1e-9, calls, peer.peer_others()


def report(rounds: int) -> list[dict[str, float]]:
    peer = load_peer()
    found = []
    for chunks in COUNTS:
        ours: list[float] = []
        theirs: list[float] = []
        calls = others = 0
        by_pmalloc(chunks)
        for turn in range(rounds):
            if turn % 2:
                ours.append(by_pmalloc(chunks))
            seconds, calls, others = by_peer(peer, chunks)
            theirs.append(seconds)
            if not turn % 2:
                ours.append(by_pmalloc(chunks))
        found.append(
            {
                "chunks": chunks,
                "frozen_s": median(ours),
                "ordinary_s": median(theirs),
                "mprotect_calls": calls,
                "other_calls": others,
            }
        )
    return found


# ---- in the benchmark ----


def compile_peer(folder: str) -> Path | None:
    """The library, or None where there is no compiler."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return None
    library = Path(folder) / "protect_peer.so"
    command = [compiler, "-O2", "-fPIC", "-shared", str(SOURCE), "-o", str(library), "-ldl"]
    subprocess.run(command, check=True)
    return library


def ask(rounds: int) -> list[dict[str, float]] | None:
    with tempfile.TemporaryDirectory() as folder:
        library = compile_peer(folder)
        if library is None:
            return None
        done = subprocess.run(
            [sys.executable, __file__, str(rounds)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "LD_PRELOAD": str(library)},
        )
    answer: list[dict[str, float]] = json.loads(done.stdout)
    return answer


def _row(found: dict[str, Any]) -> Row:
    ours, theirs = found["frozen_s"], found["ordinary_s"]
    chunks = "1 chunk" if found["chunks"] == 1 else f"{found['chunks']} chunks"
    return Row(
        section="protect(), against its own system calls made from C",
        name=f"protect(), {chunks} of 4 KiB",
        ordinary=time_text(theirs),
        frozen=time_text(ours),
        ratio=ours / theirs,
        verdict=ours <= FACTOR * theirs + EXTRA,
        goal_text="<= 1.2 + 3 us",
        raw=found,
    )


def run(quick: bool = False) -> list[Row]:
    found = ask(5 if quick else 41)
    if found is None:
        print("No C compiler: protect() is not measured.", file=sys.stderr)
        return []
    return [_row(each) for each in found]


if __name__ == "__main__":
    print(json.dumps(report(int(sys.argv[1]))))

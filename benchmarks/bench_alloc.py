"""Allocating: Pool.alloc() against bytearray(), and small objects against libsodium's.

From Python, two habits of use: allocations that are kept, against bytearrays that
are kept, all in a list; and such that are freed at once, against bytearrays that are
dropped at once. Both sides give zeroed bytes.

From C, sodium_peer.c does the same with libsodium and with a pool, in one process.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter

from table import Row, size_text, time_text
from timing import collector_off

import pmalloc

HERE = Path(__file__).parent
LIBRARY = HERE.parent / "src" / "libpmalloc"
SIZES = (16, 64, 256, 1024, 4096, 16384, 65536)
GOAL = 3.0
OBJECTS, BYTES, TIMES = 10_000, 64, 500

_names = count(1)


# ---- from Python ----


def give_back() -> None:
    """The heap's free memory goes to the kernel: who keeps what he allocates gets new memory."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def bytearray_kept(size: int, times: int) -> float:
    give_back()
    start = perf_counter()
    kept = [bytearray(size) for _ in range(times)]
    elapsed = perf_counter() - start
    del kept
    return elapsed


def alloc_kept(size: int, times: int) -> float:
    give_back()
    pool = pmalloc.Pool(f"kept-{next(_names)}")
    alloc = pool.alloc
    start = perf_counter()
    kept = [alloc(size) for _ in range(times)]
    elapsed = perf_counter() - start
    del kept
    pool.destroy()
    return elapsed


def bytearray_dropped(size: int, times: int) -> float:
    start = perf_counter()
    for _ in range(times):
        bytearray(size)
    return perf_counter() - start


def alloc_freed(size: int, times: int) -> float:
    pool = pmalloc.Pool(f"freed-{next(_names)}")
    alloc, free = pool.alloc, pool.free
    start = perf_counter()
    for _ in range(times):
        free(alloc(size))
    elapsed = perf_counter() - start
    pool.destroy()
    return elapsed


def compare(
    name: str,
    theirs: Callable[[int, int], float],
    ours: Callable[[int, int], float],
    size: int,
    rounds: int,
) -> Row:
    times = max(100, min(20_000, (8 << 20) // size))
    samples: dict[Callable[[int, int], float], list[float]] = {theirs: [], ours: []}
    with collector_off():
        for turn in range(rounds + 1):
            for side in (theirs, ours) if turn % 2 else (ours, theirs):
                # The first run finds what the other side left of the caches and the heap.
                side(size, times)
                samples[side].append(side(size, times) / times)
    ordinary, frozen = (median(samples[side][1:]) for side in (theirs, ours))
    return Row(
        section="Pool.alloc(), against bytearray()",
        name=f"{name}, {size_text(size)}",
        ordinary=time_text(ordinary),
        frozen=time_text(frozen),
        ratio=frozen / ordinary,
        goal=GOAL,
        raw={"ordinary_s": ordinary, "frozen_s": frozen},
    )


def from_python(rounds: int) -> list[Row]:
    rows = [compare("alloc(n), kept", bytearray_kept, alloc_kept, size, rounds) for size in SIZES]
    rows += [
        compare("free(alloc(n))", bytearray_dropped, alloc_freed, size, rounds) for size in SIZES
    ]
    return rows


# ---- from C ----


def compile_peer(folder: str) -> Path | None:
    """The program, or None, with a line that says what is missing."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        print("No C compiler: libsodium is not compared with.", file=sys.stderr)
        return None
    program = Path(folder) / "sodium_peer"
    sources = [str(HERE / "sodium_peer.c"), *map(str, sorted(LIBRARY.glob("*.c")))]
    command = [compiler, "-std=gnu11", "-O2", f"-I{LIBRARY}", f"-I{LIBRARY.parents[1] / 'include'}"]
    command += [*sources, "-o", str(program), "-lsodium", "-pthread"]
    probe = "#include <sodium.h>\nint main(void) { return sodium_init() < 0; }\n"
    asked = [compiler, "-x", "c", "-", "-o", str(Path(folder) / "probe"), "-lsodium"]
    if subprocess.run(asked, input=probe.encode(), capture_output=True).returncode != 0:
        print(
            "No libsodium: it is not compared with. Debian and Ubuntu: apt install libsodium-dev.",
            file=sys.stderr,
        )
        return None
    subprocess.run(command, check=True)
    return program


def from_c(rounds: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        program = compile_peer(folder)
        if program is None:
            return []
        command = [str(program), str(OBJECTS), str(BYTES), str(rounds)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    sodium, growing, roomy = (int(figure) * 1e-9 for figure in told.split())
    rows = []
    for name, ours, goal in (("prealloc() first", roomy, TIMES), ("a pool that grows", growing, 0)):
        rows.append(
            Row(
                section="allocating and protecting from C, against libsodium",
                name=f"{OBJECTS:,} objects of {BYTES} bytes, {name}",
                ordinary=time_text(sodium),
                frozen=time_text(ours),
                ratio=ours / sodium,
                verdict=sodium >= goal * ours if goal else None,
                goal_text=f"1/{goal}" if goal else "",
                raw={"ordinary_s": sodium, "frozen_s": ours, "times": sodium / ours},
            )
        )
    return rows


def run(quick: bool = False) -> list[Row]:
    return from_c(3 if quick else 15) + from_python(5 if quick else 25)


if __name__ == "__main__":
    print(json.dumps([row.raw for row in run(quick="--quick" in sys.argv)], indent=2))

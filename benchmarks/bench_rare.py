"""Rare writes: from C against a bare pwrite(), from Python, and a Cell that is published anew.

The peers of C are in rare_peer.c. In Python: an attribute read for `cell.get()`, and
freezing the whole policy for a publish that replaces one part in a hundred.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from table import Row, time_text

import pmalloc

HERE = Path(__file__).parent
LIBRARY = HERE.parent / "src" / "libpmalloc"
FIELD_GOAL = 6e-6  # seconds, of an 8-byte field from Python
GET_GOAL = 30e-9  # seconds over a plain attribute


def build(name: str, folder: str) -> str | None:
    """A program of C with the library in it."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        print("No C compiler: rare writes from C are not measured.", file=sys.stderr)
        return None
    program = str(Path(folder) / name)
    sources = [str(HERE / f"{name}.c"), *map(str, sorted(LIBRARY.glob("*.c")))]
    command = [compiler, "-std=gnu11", "-O2", f"-I{LIBRARY}", f"-I{LIBRARY.parents[1] / 'include'}"]
    subprocess.run([*command, *sources, "-o", program, "-pthread"], check=True)
    return program


def from_c(quick: bool) -> list[Row]:
    titles = {
        "word": ("8 bytes through /proc/self/mem", 1.4),
        "memfd": ("8 bytes through a memfd", None),
        "window": ("8 bytes, against mprotect() and back, 16 KiB", None),
        "commit-1": ("commit, 1 word in 64 pages", 1.2),
        "commit-16": ("commit, 16 words in 64 pages", 1.2),
        "commit-256": ("commit, 256 words in 64 pages", 1.2),
        "commit-4096": ("commit, 4096 words in 64 pages", 1.2),
    }
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        program = build("rare_peer", folder)
        if program is None:
            return rows
        times = "2000" if quick else "20000"
        out = subprocess.run([program, times], check=True, capture_output=True, text=True).stdout
    for line in out.splitlines():
        name, *figures = line.split()
        bare, ours, *known = (float(figure) * 1e-9 for figure in figures)
        title, goal = titles[name]
        raw = {"ordinary_s": bare, "frozen_s": ours}
        if known:
            raw["by_known_pages_s"] = known[0]
        rows.append(
            Row(
                section="rare writes from C, against a bare pwrite()",
                name=title,
                ordinary=time_text(bare),
                frozen=time_text(ours),
                ratio=ours / bare,
                goal=goal,
                raw=raw,
            )
        )
    return rows


class _Limits(pmalloc.Record):
    rate: int
    burst: int


class _Plain:
    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


def _best(call: object, times: int) -> float:
    """Seconds of a call, the median of nine rounds; `call` runs its own loop."""
    found: list[float] = []
    for _ in range(9):
        begin = perf_counter()
        call(times)  # type: ignore[operator]
        found.append((perf_counter() - begin) / times)
    return median(found)


def _field(record: _Limits, times: int) -> None:
    for i in range(times):
        with pmalloc.rare_write(record) as staged:
            staged.rate = i


def _get(cell: pmalloc.Cell[object], times: int) -> None:
    for _ in range(times):
        cell.get()


def _read(plain: _Plain, times: int) -> None:
    for _ in range(times):
        plain.value


def from_python(quick: bool) -> list[Row]:
    times = 2_000 if quick else 20_000
    with pmalloc.Pool("bench limits", mode="wr") as pool:
        record = pool.new(_Limits, rate=1, burst=2)
    field = _best(lambda n: _field(record, n), times)
    policy = {f"type{i}": {f"class{j}": frozenset(range(j, j + 9)) for j in range(40)}
              for i in range(200 if quick else 2_000)}  # fmt: skip
    cell = pmalloc.Cell(policy, name="bench policy")
    get = _best(lambda n: _get(cell, n), times * 50)
    read = _best(lambda n: _read(_Plain(policy), n), times * 50)
    whole: list[float] = []
    parts: list[float] = []
    for turn in range(5):
        # All of it, as a program has it that read the policy anew.
        begin = perf_counter()
        cell.publish(policy)
        whole.append(perf_counter() - begin)
        # One part in a hundred is new, the others are the frozen ones.
        begin = perf_counter()
        new = dict(cell.get())
        for i in range(turn, len(policy), 100):
            new[f"type{i}"] = {f"class{j}": frozenset((turn, j)) for j in range(40)}
        cell.publish(new)
        parts.append(perf_counter() - begin)
    return [
        Row(
            section="rare writes from Python",
            name="an 8-byte field of a Record",
            ordinary="",
            frozen=time_text(field),
            verdict=field <= FIELD_GOAL,
            goal_text="<= 6 us",
            raw={"frozen_s": field},
        ),
        Row(
            section="rare writes from Python",
            name="cell.get(), against an attribute",
            ordinary=time_text(read),
            frozen=time_text(get),
            verdict=get - read <= GET_GOAL,
            goal_text="+30 ns",
            raw={"ordinary_s": read, "frozen_s": get},
        ),
        Row(
            section="rare writes from Python",
            name="publish with 1% changed, against freezing all",
            ordinary=time_text(median(whole)),
            frozen=time_text(median(parts)),
            ratio=median(parts) / median(whole),
            goal=0.1,
            raw={"ordinary_s": median(whole), "frozen_s": median(parts)},
        ),
    ]


def run(quick: bool = False) -> list[Row]:
    return [*from_c(quick), *from_python(quick)]


def readers(reads: str, writes: str) -> None:
    """What readers see, as a table for docs/rare-write.md."""
    with tempfile.TemporaryDirectory() as folder:
        program = build("rare_readers", folder)
        if program is None:
            return
        out = subprocess.run([program, reads, writes], check=True, capture_output=True, text=True)
    print("| door | bytes | place | reads | mixtures |\n|---|---:|---|---:|---:|")
    places = {128: "aligned", 131: "not aligned", 188: "over the end of a cache line",
              4092: "over the end of a page"}  # fmt: skip
    for line in out.stdout.splitlines():
        door, size, offset, seen, _, mixtures = line.split()
        print(f"| {door} | {size} | {places[int(offset)]} | {int(seen):.2g} | {int(mixtures):,} |")


if __name__ == "__main__":
    if "--readers" in sys.argv:
        small = "--quick" in sys.argv
        readers("10000000" if small else "1000000000", "20000" if small else "1000000")
    else:
        print(json.dumps([row.raw for row in run(quick="--quick" in sys.argv)], indent=2))

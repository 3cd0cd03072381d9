"""`make bench`: measures everything, prints one table, keeps it in benchmarks/README.md.

python benchmarks/run.py                all, a few minutes
python benchmarks/run.py --quick        smaller graphs, fewer rounds; README untouched
python benchmarks/run.py --only reads   one part; README untouched
python benchmarks/run.py --json FILE    the figures, too
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

README = Path(__file__).with_name("README.md")
FRONT = README.parent.parent / "README.md"
BEGIN = "<!-- last run: begin -->"
END = "<!-- last run: end -->"

try:
    import bench_alloc
    import bench_attributes
    import bench_freeze
    import bench_init
    import bench_memory
    import bench_numpy
    import bench_off
    import bench_protect
    import bench_rare
    import bench_reads
    import bench_violations
    import machine
    from table import Row, markdown, plain
except ModuleNotFoundError as error:
    if error.name != "pmalloc":
        raise
    sys.exit("The benchmarks need pmalloc: run `make bench`, or pip install '.[demo]' first.")

PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "freeze": bench_freeze.run,
    "reads": bench_reads.run,
    "attributes": bench_attributes.run,
    "memory": bench_memory.run,
    "protect": bench_protect.run,
    "alloc": bench_alloc.run,
    "numpy": bench_numpy.run,
    "violations": bench_violations.run,
    "rare": bench_rare.run,
    "init": bench_init.run,
    "off": bench_off.run,
}


def measure(parts: list[str], quick: bool) -> list[Row]:
    # Memory and protect() fork and start processes: before this one grows.
    done: dict[str, list[Row]] = {}
    for part in sorted(parts, key=list(PARTS).index, reverse=True):
        print(f"measuring {part} ...", file=sys.stderr)
        done[part] = PARTS[part](quick)
    return [row for part in parts for row in done[part]]


def caption(about: dict[str, str]) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in about.items())


def keep(rows: list[Row], about: dict[str, str]) -> None:
    """Puts the run between the markers; everything else in the README stays."""
    text = README.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{README} has lost the markers of the last run; it was not changed.")
    section = f"{caption(about)}\n\n{markdown(rows)}"
    README.write_text(f"{head}{BEGIN}\n\n{section}\n\n{END}{tail}", encoding="utf-8")


def keep_in_front(rows: list[Row]) -> None:
    """Puts the new figures into those rows of the project's README that quote a row here."""
    measured = {line.split(" | ")[0]: line for line in markdown(rows).splitlines()}
    lines = FRONT.read_text(encoding="utf-8").splitlines()
    quoted = [
        measured.get(line.split(" | ")[0], line) if line[:2] == "| " else line for line in lines
    ]
    # The last cell is the goal, which has no column there.
    cut = [
        new if new == old or old.startswith("| |") else new.rsplit(" | ", 1)[0] + " |"
        for old, new in zip(lines, quoted, strict=True)
    ]
    FRONT.write_text("\n".join(cut) + "\n", encoding="utf-8")


def as_json(rows: list[Row], about: dict[str, str]) -> str:
    figures = [{**asdict(row), "met": row.met} for row in rows]
    return json.dumps({"machine": about, "rows": figures}, indent=2)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller graphs, fewer rounds")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; repeatable")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures, too")
    return parser.parse_args()


def main() -> None:
    chosen = arguments()
    about = machine.describe()
    rows = measure(chosen.only or list(PARTS), chosen.quick)
    print(plain(rows))
    print("\n" + caption(about))
    if chosen.json:
        chosen.json.write_text(as_json(rows, about), encoding="utf-8")
    if not chosen.quick and not chosen.only:
        keep(rows, about)
        keep_in_front(rows)
        print(f"\nKept in {README.parent.name}/{README.name}, and what README.md quotes.")
    missed = [row.name for row in rows if row.met is False]
    if missed:
        print("\nGoals missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()

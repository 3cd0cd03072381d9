"""Audited stores against a bare handler of SIGSEGV, from C, in one process.

The peer is the least that a handled fault can be: its handler steps over the store and
returns, so the store is lost. pmalloc decodes the store, writes it down, and performs
it through /proc/self/mem. In the raw figures is a second peer, the least with which the
store takes effect: its handler makes the page writable, the store runs again, the page
is made read-only again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from table import Row, time_text

HERE = Path(__file__).parent
LIBRARY = HERE.parent / "src" / "libpmalloc"
GOAL = 3.0


def run(quick: bool = False) -> list[Row]:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        print("No C compiler: violations are not measured.", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "violations_peer")
        sources = [str(HERE / "violations_peer.c"), *map(str, sorted(LIBRARY.glob("*.c")))]
        command = [compiler, "-std=gnu11", "-O2", f"-I{LIBRARY}"]
        command += [f"-I{LIBRARY.parents[1] / 'include'}", *sources, "-o", program, "-pthread"]
        subprocess.run(command, check=True)
        done = subprocess.run(
            [program, "300" if quick else "1000"], check=True, capture_output=True, text=True
        )
    opened, bare, *ours = (int(figure) * 1e-9 for figure in done.stdout.split())
    rows = []
    for name, took, goal in zip(
        ("mov, emulated", "lock inc, emulated", "fstp, single-stepped"),
        ours,
        (GOAL, GOAL, None),
        strict=True,
    ):
        if took:
            rows.append(
                Row(
                    section="an audited store, against a bare handler of SIGSEGV",
                    name=name,
                    ordinary=time_text(bare),
                    frozen=time_text(took),
                    ratio=took / bare,
                    goal=goal,
                    raw={"ordinary_s": bare, "frozen_s": took, "opened_s": opened},
                )
            )
    return rows


if __name__ == "__main__":
    print(json.dumps([row.raw for row in run(quick="--quick" in sys.argv)], indent=2))

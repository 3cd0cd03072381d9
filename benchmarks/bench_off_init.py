"""PMALLOC_RODATA=off and the init phase: what a program pays that registers its data, and is off.

    a service   examples/post_init_app, imported: with pmalloc under `off`, and the same files
                without it, where dicts are plain dicts and functions of the phase do nothing
    in init     filling and reading what ro_after_init() gave, calling an @init function, and NumPy
                in `with pool.numpy()`, against plain dicts, lists, functions and NumPy

Both go by the time that they had of the CPU: who else is on the machine does not count.

What the end of init costs stands beside it, without a goal: it freezes a copy under every policy,
as freeze() does, whose peers are in the tables of freeze.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import thread_time
from typing import Any

from table import Row, time_text
from timing import collector_off, own_copy

GOAL = 1.05
EXAMPLES = Path(__file__).parents[1] / "examples"
# A pmalloc that leaves everything as it is.
WITHOUT = """\
import sys, types
same = lambda value=None, **_: value if value is not None else same
sys.modules["pmalloc"] = types.SimpleNamespace(
    ro_after_init=same, init=same, before_mark_rodata_ro=same, register=lambda *_, **__: None,
    mark_rodata_ro=lambda **_: None,
)
"""
APP = f"import sys; sys.path.insert(0, {str(EXAMPLES)!r})\nimport post_init_app.app\n"
END = "import pmalloc; pmalloc.mark_rodata_ro()\n"
STOP = "import os; os._exit(0)\n"  # else the end of the process is in it, too


def _row(name: str, first: float, second: float, goal: float | None = GOAL) -> Row:
    return Row(
        section="PMALLOC_RODATA=off: the init phase, against the same without pmalloc",
        name=name,
        ordinary=time_text(first),
        frozen=time_text(second),
        ratio=second / first,
        goal=goal,
        raw={"ordinary_s": first, "frozen_s": second},
    )


def service(rounds: int) -> list[Row]:
    """Fresh processes, by the time they had of the CPU."""
    from bench_off import in_turns

    took = in_turns(
        {
            "plain": (WITHOUT + APP + STOP, "off"),
            "off": (APP + STOP, "off"),
            "ended": (APP + END + STOP, "off"),
            "oops": (APP + END + STOP, "oops"),
            "plain, exit": (WITHOUT + APP, "off"),
            "ended, exit": (APP + END, "off"),
        },
        rounds,
    )
    return [
        _row("import of a Flask service, 34,000 cities", took["plain"], took["off"]),
        _row("  the same, and the end of init", took["plain"], took["ended"], None),
        _row("  the same under oops", took["plain"], took["oops"], None),
        _row("  off, until the process is gone", took["plain, exit"], took["ended, exit"], None),
    ]


# ---- in one process


def fill_dict(table: dict[int, int]) -> dict[int, int]:
    for n in range(20_000):
        table[n] = n
    return table


def fill_list(table: list[int]) -> list[int]:
    for n in range(20_000):
        table.append(n)
    return table


def read_dict(table: dict[str, int]) -> None:
    for _ in range(20_000):
        table["port"]


def call(function: Callable[[], None]) -> None:
    for _ in range(20_000):
        function()


def arrays() -> None:
    for _ in range(500):
        np.zeros(1000)
        np.ones((50, 50)) + 1.0


def plain_function() -> None:
    """Does nothing."""


def marked_function() -> None:
    """Does nothing, and may do so during init only."""


def sides() -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """By name: without pmalloc, and with."""
    import pmalloc

    pool = pmalloc.Pool("arrays")
    port, born_port = {"port": 80}, pmalloc.ro_after_init({"port": 80})
    marked = pmalloc.init(marked_function)

    def in_pool() -> None:
        with pool.numpy():
            arrays_2()

    # Code of its own for each side: the interpreter specialises it for what it meets.
    fill_dict_1, fill_dict_2 = own_copy(fill_dict), own_copy(fill_dict)
    fill_list_1, fill_list_2 = own_copy(fill_list), own_copy(fill_list)
    read_dict_1, read_dict_2 = own_copy(read_dict), own_copy(read_dict)
    call_1, call_2 = own_copy(call), own_copy(call)
    arrays_1, arrays_2 = own_copy(arrays), own_copy(arrays)
    return {
        "ro_after_init({}), filled with 20,000 items": (
            lambda: fill_dict_1({}),
            lambda: fill_dict_2(pmalloc.ro_after_init({})),
        ),
        "ro_after_init([]), 20,000 items appended": (
            lambda: fill_list_1([]),
            lambda: fill_list_2(pmalloc.ro_after_init([])),
        ),
        "settings['literal'], before the end": (
            lambda: read_dict_1(port),
            lambda: read_dict_2(born_port),
        ),
        "an @init function is called": (lambda: call_1(plain_function), lambda: call_2(marked)),
        "NumPy in `with pool.numpy()`": (arrays_1, in_pool),
    }


def compare(rounds: int) -> list[dict[str, Any]]:
    """In the process under off."""
    found: list[dict[str, Any]] = []
    kept: list[object] = []
    with collector_off():
        for name, pair in sides().items():
            samples: tuple[list[float], list[float]] = ([], [])
            for turn in range(rounds + 1):
                for side in (0, 1) if turn % 2 else (1, 0):
                    start = thread_time()
                    kept.append(pair[side]())  # what is registered is never freed
                    samples[side].append(thread_time() - start)
            first, second = (median(of[1:]) for of in samples)
            found.append({"name": name, "first": first, "second": second})
    return found


def in_init(rounds: int) -> list[Row]:
    done = subprocess.run(
        [sys.executable, __file__, str(rounds)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PMALLOC_RODATA": "off"},
    )
    return [_row(each["name"], each["first"], each["second"]) for each in json.loads(done.stdout)]


def run(quick: bool = False) -> list[Row]:
    return [*service(3 if quick else 15), *in_init(21 if quick else 101)]


if __name__ == "__main__":
    import numpy as np

    print(json.dumps(compare(int(sys.argv[1]))))

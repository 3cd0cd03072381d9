"""Reading attributes and calling methods of frozen instances.

The peer is the same loop over an ordinary instance of the same class. Each of the two has code of
its own, which meets one type only, as in a program. The mean of three classes is the
geometric one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import count
from statistics import geometric_mean
from typing import Any

from table import Row, time_text
from timing import interleaved, own_copy

import pmalloc

SECTION = "attributes"
EACH_GOAL, MEAN_GOAL = 1.3, 1.1
LOOPS = 100_000

_names = count(1)


@dataclasses.dataclass
class DataClass:
    x: int
    y: str
    z: float

    def method(self) -> int:
        return 1


class Slots:
    __slots__ = ("x", "y", "z")

    def __init__(self, x: int, y: str, z: float) -> None:
        self.x, self.y, self.z = x, y, z

    def method(self) -> int:
        return 1


class Plain:
    def __init__(self, x: int, y: str, z: float) -> None:
        self.x, self.y, self.z = x, y, z

    def method(self) -> int:
        return 1


def read(instance: Any) -> None:
    for _ in range(LOOPS):
        instance.x
        instance.y
        instance.z
        instance.x
        instance.y
        instance.z


def call(instance: Any) -> None:
    for _ in range(LOOPS):
        instance.method()
        instance.method()
        instance.method()


def rows_of(name: str, loop: Callable[[Any], None], rounds: int) -> list[Row]:
    rows: list[Row] = []
    for cls in (Slots, DataClass, Plain):
        ordinary = cls(70_000, "text", 0.5)
        frozen = pmalloc.freeze([ordinary], name=f"attributes-{next(_names)}")[0]
        slow, fast = own_copy(loop), own_copy(loop)
        times = interleaved(
            {"ordinary": lambda: slow(ordinary), "frozen": lambda: fast(frozen)}, rounds
        )
        rows.append(
            Row(
                section=SECTION,
                name=f"{name}: {cls.__name__}",
                ordinary=time_text(times["ordinary"]),
                frozen=time_text(times["frozen"]),
                ratio=times["frozen"] / times["ordinary"],
                goal=EACH_GOAL,
                raw=times,
            )
        )
    ratios = [row.ratio for row in rows if row.ratio is not None]
    rows.append(Row(SECTION, f"{name}: mean", "", "", ratio=geometric_mean(ratios), goal=MEAN_GOAL))
    return rows


def run(quick: bool) -> list[Row]:
    rounds = 7 if quick else 31
    return rows_of("600,000 attribute reads", read, rounds) + rows_of(
        "300,000 method calls", call, rounds
    )

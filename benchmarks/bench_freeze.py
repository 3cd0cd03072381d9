"""freeze() against the ways to copy a graph: copy.deepcopy, pickle, marshal."""

from __future__ import annotations

import copy
import marshal
import pickle
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import graphs
from table import Row, time_text
from timing import Supply, seconds

import pmalloc

Copier = Callable[[Any], Any]

LARGEST_COPY = 512 << 20  # bytes of memory, more than any copier takes
DEEPCOPY_GOAL = 0.2  # at least five times as fast
PICKLE_GOAL = 1.0


def pickle_round_trip(graph: Any) -> Any:
    return pickle.loads(pickle.dumps(graph, pickle.HIGHEST_PROTOCOL))


def marshal_round_trip(graph: Any) -> Any:
    return marshal.loads(marshal.dumps(graph))


COPIERS: dict[str, Copier] = {
    "copy.deepcopy": copy.deepcopy,
    "pickle round trip": pickle_round_trip,
    "marshal round trip": marshal_round_trip,
}
GOALS = {"copy.deepcopy": DEEPCOPY_GOAL, "pickle round trip": PICKLE_GOAL}


def time_freeze(graph: Any) -> float:
    """Making the pool, copying, protecting; what follows is not counted."""
    frozen: list[Any] = []
    elapsed = seconds(lambda: frozen.append(pmalloc.freeze(graph)))
    pool = pmalloc.pool_of(frozen.pop())
    assert pool is not None
    pool.destroy(force=True)
    return elapsed


def rounds_for(graph: Any, least: int) -> int:
    """More rounds for what is quick: about four seconds for all copiers, `least` at least."""
    return max(least, min(25, round(4 / (12 * time_freeze(graph)))))


def measure(graph: Any, rounds: int) -> dict[str, float]:
    """Median seconds by copier, and of freeze, interleaved.

    The garbage collector is on, as in a program: that copying makes it run is part of the price.
    """
    samples: dict[str, list[float]] = {name: [] for name in ("freeze", *COPIERS)}
    with Supply(LARGEST_COPY) as supply:
        for _ in range(rounds):
            supply.renew()
            samples["freeze"].append(time_freeze(graph))
            for name, copier in COPIERS.items():
                supply.renew()
                samples[name].append(seconds(partial(copier, graph)))
    return {name: median(of) for name, of in samples.items()}


def run(quick: bool = False) -> list[Row]:
    rows = []
    for graph in graphs.QUICK if quick else graphs.ALL:
        loaded = graph.load()
        times = measure(loaded, rounds_for(loaded, 3 if quick else 5))
        for name in COPIERS:
            rows.append(
                Row(
                    section="freeze(), against a copy by",
                    name=f"{name}: {graph.name}",
                    ordinary=time_text(times[name]),
                    frozen=time_text(times["freeze"]),
                    ratio=times["freeze"] / times[name],
                    goal=GOALS.get(name) if graph is graphs.ALL[0] else None,
                    raw={"ordinary_s": times[name], "frozen_s": times["freeze"]},
                )
            )
    return rows

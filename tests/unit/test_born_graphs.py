"""Random graphs in dicts and lists that were born in a pool come out as freeze would have it."""

import copy
import gc
import itertools
from typing import Any

import pytest
from child import in_child
from graph_compare import FROZEN, same
from graph_draw import GRAPH, build
from hypothesis import HealthCheck, Phase, given, seed, settings

import pmalloc
from pmalloc import FrozenDict, FrozenList

GRAPHS = 500


@pytest.mark.parametrize("number", [20_151_009, 20_170_519])
def test_born_graphs(number: int) -> None:
    numbers = itertools.count()
    finished: list[pmalloc.Pool] = []
    tally = 0

    @seed(number)
    @settings(
        max_examples=GRAPHS,
        deadline=None,
        database=None,
        print_blob=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(GRAPH)
    def run(graph: Any) -> None:
        nonlocal tally
        source: Any = build(graph)
        pool = pmalloc.Pool(f"graph {next(numbers)}")
        table: dict[str, Any] = pool._born({"graph": source})
        items: list[Any] = pool._born([source, table])
        table["items"] = items
        # What they were before, as far as it goes: an ordinary list of the same objects.
        before = [list(items), dict(table)]
        gc.collect(0)
        root, refused, _, _, leftovers = pool._settle({"t": table, "i": items}, [], False)
        assert root is not None
        assert refused == []
        del leftovers
        pool.protect()
        assert type(table) is FrozenDict
        assert type(items) is FrozenList
        assert items[1] is table
        assert table["items"] is items
        assert items[0] is table["graph"]
        assert list(table) == list(before[1])
        same(source, items[0], FROZEN, shared=lambda _: True, order=True)
        assert type(pmalloc.thaw(table)) is dict
        copy.copy(items)
        tally += 1
        del root, table, items, before
        finished.append(pool)
        if len(finished) == 50:
            gc.collect()
            while finished:
                finished.pop().destroy(force=True)

    def work() -> None:
        gc.freeze()
        run()
        assert tally >= GRAPHS

    in_child(work)

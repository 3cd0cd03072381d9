"""Twelve read operations on frozen objects, against the same on ordinary ones.

Each operation is a function of an operand. Both operands run a copy of their own
of that one function (timing.own_copy), in turns, in one process.
"""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice, repeat
from math import exp, fsum, log
from typing import Any

import graphs
from table import Row, time_text
from timing import adjusted, interleaved, own_copy

import pmalloc

GEOMEAN_GOAL = 0.95
EACH_GOAL = 1.8

# ---- on the records of the main job: 234,908 of them, read one after the other

# Several in a row: a loop's own cost would flatter the slower operand.


def literal_of_records(table: Any) -> None:
    for city in table.values():
        city["geonameid"], city["name"], city["countrycode"], city["population"], city["timezone"]
        city["latitude"], city["longitude"], city["alternatenames"], city["admin1code"]


def get_of_records(table: Any) -> None:
    for city in table.values():
        city.get("geonameid"), city.get("name"), city.get("countrycode"), city.get("population")
        city.get("latitude"), city.get("absent"), city.get("timezone"), city.get("missing")


def contains_of_records(table: Any) -> None:
    for city in table.values():
        "geonameid" in city, "name" in city, "countrycode" in city, "population" in city
        "latitude" in city, "absent" in city, "timezone" in city, "missing" in city


# ---- the same on one small dict that never leaves the cache


def literal_key(config: Any) -> None:
    for _ in repeat(None, 500):
        config["host"], config["port"], config["debug"], config["workers"], config["name"]
        config["timeout"], config["backlog"], config["keepalive"], config["user"], config["group"]


def get(config: Any) -> None:
    for _ in repeat(None, 500):
        config.get("host"), config.get("port"), config.get("debug"), config.get("workers")
        config.get("timeout"), config.get("absent"), config.get("user"), config.get("missing")


def contains(config: Any) -> None:
    for _ in repeat(None, 500):
        "host" in config, "port" in config, "debug" in config, "workers" in config
        "timeout" in config, "absent" in config, "user" in config, "missing" in config


def random_keys(operand: Any) -> None:
    table, keys = operand
    for key in keys:
        table[key]


def list_index(operand: Any) -> None:
    items, indices = operand
    for a, b, c, d, e in indices:
        items[a], items[b], items[c], items[d], items[e]
        items[e], items[a], items[d], items[b], items[c]


def record_read(operand: Any) -> None:
    table, keys = operand
    for key in keys:
        table[key]["name"]


def items_of_all(table: Any) -> None:
    for city in table.values():
        for _key, _value in city.items():
            pass


def iteration(table: Any) -> None:
    for city in table.values():
        for _name in city["alternatenames"]:
            pass


def traverse(obj: Any) -> None:
    if isinstance(obj, dict):
        for key, value in obj.items():
            traverse(key)
            traverse(value)
    elif isinstance(obj, list):
        for item in obj:
            traverse(item)


def json_dumps(table: Any) -> None:
    json.dumps(table)


def pickle_dumps(table: Any) -> None:
    pickle.dumps(table, pickle.HIGHEST_PROTOCOL)


def equal(operand: Any) -> None:
    table, other = operand
    assert table == other


@dataclass(frozen=True)
class Read:
    name: str
    function: Callable[[Any], None]
    operands: tuple[Any, Any]  # ordinary, frozen


CONFIG = {
    "host": "localhost", "port": 8080, "debug": False, "workers": 4, "name": "shop",
    "timeout": 30.0, "backlog": 2048, "keepalive": 5, "user": "www", "group": "www",
    "tags": ["a", "b"], "limits": {"body": 1 << 20, "header": 8192},
}  # fmt: skip


def _pair(obj: Any) -> tuple[Any, Any]:
    return obj, pmalloc.freeze(obj)


def _with(operands: tuple[Any, Any], other: Any) -> tuple[Any, Any]:
    """Both operands with the very same second one."""
    return (operands[0], other), (operands[1], other)


def _fresh(text: str) -> str:
    """An equal string that is another object: keys come from a request, not from the table."""
    return text.encode().decode()


def build(quick: bool) -> tuple[list[Read], list[Read]]:
    """All operands. The big ones are what the loader built, not a copy of it."""
    draw = random.Random(2)
    config = _pair(CONFIG)
    million = _pair({f"user-{n}": n for n in range(100_000 if quick else 1_000_000)})
    cities = graphs.big_cities() if quick else graphs.geonames()
    world = _pair(cities)
    names = _pair([city["name"] for city in islice(cities.values(), 1000)])
    sample = [str(key) for key in draw.sample(list(cities), 5000)]
    some = _pair(json.loads(json.dumps({key: cities[key] for key in sample})))
    # Shares no object with either operand: identity would spare one of them the comparison.
    other = pickle_copy(cities)
    many = [_fresh(key) for key in draw.sample(list(million[0]), 50_000)]
    ids = [_fresh(key) for key in draw.choices(list(cities), k=50_000)]
    indices = [tuple(draw.choices(range(1000), k=5)) for _ in range(2000)]
    twelve = [
        Read("city['literal'], every record", literal_of_records, world),
        Read("city.get('literal'), every record", get_of_records, world),
        Read("'literal' in city, every record", contains_of_records, world),
        Read("random keys in a dict of a million", random_keys, _with(million, many)),
        Read("list[i], 1,000 items", list_index, _with(names, indices)),
        Read("record read: cities[key]['name']", record_read, _with(world, ids)),
        Read("items() of every record", items_of_all, world),
        Read("for x in list: the names of all records", iteration, world),
        Read("recursive traversal of everything", traverse, world),
        Read("json.dumps, 5,000 cities", json_dumps, some),
        Read("pickle.dumps, 5,000 cities", pickle_dumps, some),
        Read("==, with a third, ordinary copy", equal, _with(world, other)),
    ]
    hot = [
        Read("config['literal']", literal_key, config),
        Read("config.get('literal')", get, config),
        Read("'literal' in config", contains, config),
    ]
    return twelve, hot


def pickle_copy(obj: Any) -> Any:
    """A copy by pickle: unlike deepcopy it copies strings too."""
    return pickle.loads(pickle.dumps(obj, pickle.HIGHEST_PROTOCOL))


def measure(read: Read, rounds: int) -> tuple[float, float]:
    """Median seconds of one call: ordinary, frozen."""
    ordinary = own_copy(read.function)
    frozen = own_copy(read.function)
    first, second = read.operands
    repeated, times = adjusted(lambda: ordinary(first), 0.02)
    again = _times(lambda: frozen(second), times)
    again()
    medians = interleaved({"ordinary": repeated, "frozen": again}, rounds)
    return medians["ordinary"] / times, medians["frozen"] / times


def _times(call: Callable[[], object], times: int) -> Callable[[], object]:
    if times == 1:
        return call

    def repeated() -> None:
        for _ in range(times):
            call()

    return repeated


def geometric_mean(ratios: list[float]) -> float:
    return exp(fsum(map(log, ratios)) / len(ratios))


def run(quick: bool = False) -> list[Row]:
    twelve, hot = build(quick)
    rounds = 7 if quick else 21
    rows = [row_of("reads", read, rounds) for read in twelve]
    hot_rows = [row_of("reads of a small dict, all in the cache", read, rounds) for read in hot]
    mean = geometric_mean(ratios(rows))
    dearest = geometric_mean(ratios([*hot_rows, *rows[3:]]))
    rows.append(Row("reads", "geometric mean of the twelve", "", "", mean, GEOMEAN_GOAL))
    rows.append(Row("reads", "the same, the first three in the cache: below", "", "", dearest))
    return rows + hot_rows


def ratios(rows: list[Row]) -> list[float]:
    return [row.ratio for row in rows if row.ratio is not None]


def row_of(section: str, read: Read, rounds: int) -> Row:
    ordinary, frozen = measure(read, rounds)
    return Row(
        section=section,
        name=read.name,
        ordinary=time_text(ordinary),
        frozen=time_text(frozen),
        ratio=frozen / ordinary,
        goal=EACH_GOAL,
        raw={"ordinary_s": ordinary, "frozen_s": frozen},
    )

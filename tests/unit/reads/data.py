"""What is read, plain and frozen, and the list of groups that read it."""

import json
import types
from collections.abc import Callable
from typing import Any

import pmalloc

ROUNDS = 20_000


def make() -> dict[str, Any]:
    """One of everything; dicts, lists and sets are new at each call."""
    return json.loads(
        json.dumps(
            {
                "config": {
                    "name": "gateway",
                    "port": 8080,
                    "debug": False,
                    "ratio": 0.25,
                    "nothing": None,
                    "hosts": ["alpha.example", "beta.example", "gamma.example"],
                    "limits": {"soft": 1024, "hard": 1 << 40},
                    "städtchen": "Zürich",
                },
                "records": [
                    {"id": 1000 + i, "name": f"record-{i}", "tags": ["a", f"t{i}"], "score": i / 8}
                    for i in range(4)
                ],
                "words": ["pear", "apple", "fig", "banana", "kiwi", "date"],
                "numbers": [5, 300, -7, 70_000, 2, 1 << 70, -(1 << 65), 12],
                "small": [5, 3, 200, 7, 0, 12],
                "floats": [0.5, -2.25, 1e300, 3.0, 0.1],
                "matrix": [[1, 2, 300], [4, 500, 6], [700, 8, 9]],
                "text": "The quick brown fox\njumps over\tthe lazy dog ",
                "latin": "Grüße aus Zürich",
                "bmp": "東京タワー, Україна",
                "astral": "a 🔒 and a 🔑",
                "identifier": "frozen_attribute",
                "source": "[x * factor for x in (1, 2, 3)]",
                "number_text": "12345678901234567890",
                "percent": "%(name)s listens on %(port)d",
                "brace": "{name} listens on {port:>6}",
                "dollar": "$name listens on ${port}",
                "pattern": r"(\w+)\s(?P<second>\w+)",
                "when": "2026-02-28T12:30:00+00:00",
                "path": "/srv/data/cities.csv",
                "kwargs": {"sep": "-", "end": "!"},
                "modules": ["json.decoder", "math"],
                "empty_list": [],
                "empty_dict": {},
                "globals": {"limit": 7000, "factor": 3, "__builtins__": {}},
            }
        )
    ) | {
        "mixed": {
            1: "one",
            "a": 2,
            (1, "b"): "tuple",
            None: 0,
            2.5: "float",
            b"k": [1],
            -1: "minus",
        },
        "wide": {f"key-{i}": i * 1000 for i in range(40)},
        "blob": bytes(range(200)) * 2,
        "line": b"GET /index.html HTTP/1.1\r\n",
        "big": 3**200,
        "negative": -(7**90),
        "three": 1103,  # no small int, not on 3.15 either
        "ratio": 2.5,
        "z": complex(1.5, -2.5),
        "span": range(3, 10_000, 7),
        "huge_span": range(10**20, 10**20 + 50, 10),
        "pair": ("left", 1 << 40),
        "row": ("row", 70_000, 2.75, None, ("inner", b"bytes")),
        "rows": [("b", 2), ("a", 1), ("c", 3)],
        "tags": {"red", "green", "blue"},
        "members": frozenset({"alice", "bob", "carol"}),
        "many": frozenset(range(1000, 1050)),
        "nested_set": {frozenset({1, 2}), frozenset({3})},
        "empty_set": set(),
        "lone": "broken \ud800 text",
        "table": {97: "A", 98: None, 99: "cc"},
    }


PLAIN: Any = types.SimpleNamespace(**make())
FROZEN: Any = types.SimpleNamespace(**pmalloc.freeze(make(), name="reads"))
OTHER: Any = types.SimpleNamespace(**make())


class Thing:
    pass


READS: list[Callable[[Any], Any]] = []


def read(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    READS.append(function)
    return function

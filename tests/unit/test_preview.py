"""preview(): it says what freeze does."""

import collections
import enum
import threading
from typing import Any

import pytest

import pmalloc


class Color(enum.Enum):
    RED = 1


class Point:
    def __init__(self, x: int, y: object = None) -> None:
        self.x, self.y = x, y


def sample() -> dict[str, Any]:
    return {
        "rows": [{"id": i, "name": f"name {i}", "color": Color.RED} for i in range(1000)],
        "points": [Point(i, "same") for i in range(100)],
        "counts": collections.Counter("hello"),
        "words": {"a", "b"},
        "rate": 0.25,
    }


def test_numbers_are_those_of_freeze():
    graph = sample()
    told = pmalloc.preview(graph)
    assert told.freezes
    pool = pmalloc.pool_of(pmalloc.freeze(graph))
    assert pool is not None
    stats = pool.stats()
    assert told.pool_bytes == stats["used_bytes"]
    again = pmalloc.preview(graph)
    assert again.objects == stats["objects"]  # the shared keys are there now
    assert again.shared_key_bytes == 0
    assert told.types["dict"] == 1001
    assert told.types[f"{__name__}.Point"] == 100
    assert told.types["collections.Counter"] == 1
    assert list(told.types.values()) == sorted(told.types.values(), reverse=True)


def test_externals_and_refusals():
    graph = sample()
    graph["lock"] = threading.Lock()
    graph["points"][3].y = [threading.Lock()]
    before = pmalloc.pools()
    told = pmalloc.preview(graph)
    assert pmalloc.pools() == before
    assert not told.freezes
    assert [(f.path, f.type) for f in told.refused] == [
        ("['lock']", "_thread.lock"),
        ("['points'][3].y[0]", "_thread.lock"),
    ]
    assert told.refused[0].reason.startswith("it is built by C code")
    assert [f.path for f in told.externals] == ["['rows'][0]['color']"]
    assert told.external_count == 1
    assert told.refused_count == 2
    with pytest.raises(pmalloc.UnfreezableError) as caught:
        pmalloc.freeze(graph)
    assert caught.value.path == told.refused[0].path
    allowed = pmalloc.preview(graph, externals=type(graph["lock"]))
    assert allowed.freezes
    assert allowed.external_count == 3
    assert pmalloc.preview(graph, limit=1).refused == told.refused[:1]
    text = str(pmalloc.preview(graph, limit=1))
    assert "refused: 2\n  ['lock']: _thread.lock: it is built by C code" in text
    assert text.endswith("  and 1 more")


def test_roots():
    assert pmalloc.preview(len).refused_count == 1
    assert pmalloc.preview(len).refused[0].path == ""
    assert pmalloc.preview(5).objects == 0
    assert pmalloc.preview(70_000).objects == 1
    assert "the root: builtin_function_or_method" in str(pmalloc.preview(len))


def test_what_a_worker_would_copy():
    """About what the objects take, as sys.getsizeof sees it."""
    import sys

    rows = [{"id": 10_000 + i, "name": f"name {i}"} for i in range(1000)]
    seen = sys.getsizeof(rows) + sum(
        sys.getsizeof(row) + sum(sys.getsizeof(v) for v in row.values()) for row in rows
    )
    told = pmalloc.preview(rows)
    assert 0.8 * seen < told.ordinary_bytes < 1.3 * seen
    assert told.saved_per_worker == told.ordinary_bytes
    assert told.pool_bytes < told.ordinary_bytes


def test_equal_objects_count_as_often_as_they_are_there():
    texts = [f"{prefix} text" for prefix in ["equal"] * 1000]
    told = pmalloc.preview(texts)
    assert told.objects == 2
    assert told.ordinary_bytes > 1000 * 50

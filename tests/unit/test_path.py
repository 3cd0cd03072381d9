"""The path that a report shows leads to the very object: followed step by step, and by eval()."""

import collections
import ctypes
import datetime as dt
import itertools
import mmap
import random
import re
import struct
import sys
import time
from collections.abc import Iterator
from types import MappingProxyType, SimpleNamespace
from typing import Any

import graph_kinds as k
import pytest
from child import in_child
from graph_draw import GRAPH, build
from hypothesis import HealthCheck, Phase, given, seed, settings

import pmalloc
from pmalloc import _core

# ---- following a path ----------------------------------------------------------------------------

STEP = re.compile(
    r"\.keys\(\)\[(?P<key>\d+)\]"
    r"|\{(?P<member>\d+)\}"
    r"|\[<key (?P<value>\d+)>\]"
    r"""|\[(?P<item>b?'(?:[^'\\]|\\.)*'|b?"(?:[^"\\]|\\.)*"|[^\]'"]+)\]"""
    r"|\.(?P<name>[^.\[{]*)",
    re.DOTALL,
)
SCALARS = (str, bytes, int, float, complex, type(None), bool, range)


def steps_of(path: str) -> list[re.Match[str]]:
    steps = list(STEP.finditer(path))
    assert "".join(step[0] for step in steps) == path
    return steps


def attribute(value: Any, name: str) -> Any:
    if name == "__dict__":
        return object.__getattribute__(value, "__dict__")
    if isinstance(value, dt.date | dt.time | range):
        return len(value) if name == "length" else getattr(value, name)
    return next(v for n, v in reversed(k.state(value)) if name in (n, n[-1] if n else n))


def follow(value: Any, path: str) -> Iterator[Any]:
    """All that the path may mean: a dict may have several keys that are NaNs."""
    values = [value]
    for step in steps_of(path):
        if step["key"] is not None:
            values = [list(v)[int(step["key"])] for v in values]
        elif step["member"] is not None:
            values = [list(v)[int(step["member"])] for v in values]
        elif step["value"] is not None:
            values = [list(v.values())[int(step["value"])] for v in values]
        elif step["item"] is not None:
            values = [w for v in values for w in items(v, step["item"])]
        else:
            values = [attribute(v, step["name"]) for v in values]
    yield from values


def items(value: Any, item: str) -> Iterator[Any]:
    if not k.is_mapping(value):
        return iter([value[int(item)]])
    return (v for key, v in value.items() if type(key) in SCALARS and repr(key) == item)


def parts(value: Any) -> Iterator[Any]:
    yield from (part for _, part in k.state(value))
    if k.is_mapping(value):
        yield from itertools.chain(value, value.values())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from value


def objects(root: Any, pool: pmalloc.Pool) -> list[Any]:
    """Everything of the pool that Python can get hold of."""
    found: dict[int, Any] = {}
    todo = [root]
    while todo:
        value = todo.pop()
        if id(value) in found or pmalloc.pool_of(value) is not pool:
            continue
        found[id(value)] = value
        todo += parts(value)
    return list(found.values())


def path_of(value: Any, pool: pmalloc.Pool) -> str:
    text = _core.path_of(value)
    assert text is not None
    assert text.startswith(pool.name), text
    return text.removeprefix(pool.name)


# ---- every object of many graphs -----------------------------------------------------------------


def test_random_graphs() -> None:
    names = (f"graph {i}" for i in itertools.count())
    tally = collections.Counter[str]()

    @seed(20_150_731)
    @settings(
        max_examples=1000,
        deadline=None,
        database=None,
        print_blob=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(GRAPH)
    def run(graph: Any) -> None:
        pool = pmalloc.Pool(next(names))
        root = pool.freeze(build(graph))
        pool.protect()
        for value in objects(root, pool):
            path = path_of(value, pool)
            assert any(v is value for v in follow(root, path)), (path, value)
            tally["objects"] += 1
            for step in steps_of(path):
                tally.update(kind for kind, text in step.groupdict().items() if text is not None)
            tally["__dict__"] += path.count(".__dict__")

    def work() -> None:
        run()
        assert tally["objects"] > 3000, tally
        for kind in ("item", "name"):  # the others are below
            assert tally[kind] > 25, tally

    in_child(work)


class Config:
    def __init__(self, **attributes: Any):
        self.__dict__.update(attributes)


class Slim:
    __slots__ = ("left", "right")


Pair = collections.namedtuple("Pair", "one two")  # noqa: PYI024

slim = Slim()
slim.left = ["in a slot"]
BY_EVAL: dict[str, Any] = {
    "": {"roles": {"admin": [1, 2, 3, "root"]}},
    "['roles']": {"roles": {"admin": ["root"]}},
    "['roles']['admin'][3]": {"roles": {"admin": [1, 2, 3, "root"]}},
    "[0][1][0]": [("x", ["deep"])],
    "['connection'].host[0]": {"connection": Config(port=1, host=["localhost"])},
    ".left": slim,
    "[1].host": (0, Config(host="localhost", **{f"a{i}": i for i in range(5)})),
    "[1].__dict__['a39']": (0, Config(**{f"a{i}": [i] for i in range(40)})),
    ".__dict__['host']": SimpleNamespace(host=["localhost"]),
    "[1]": Pair(["l"], ["r"]),
    "[2500000000][2.5][-1][None][True][0.1]": {
        2_500_000_000: {2.5: {-1: {None: {True: {0.1: ["x"]}}}}}
    },
    r"""['quote\' and " tab\t line\n \x1b[2J \u202e back\\']""": {
        "quote' and \" tab\t line\n \x1b[2J \u202e back\\": ["x"]
    },
    '["it\'s"]': {"it's": ["x"]},
    r"""[b'\x00\xff\'"']""": {b"\x00\xff'\"": ["x"]},
    "['größe']['木']['🐍']": {"größe": {"木": {"🐍": ["x"]}}},
    f"[{-(2**200)}][{10**70}]": {-(2**200): {10**70: ["x"]}},
    "[0.0001]": {0.0001: ["x"]},
    "['proxy']['a']": {"proxy": MappingProxyType({"a": ["x"]})},
    ".stop": range(10**20),
}


@pytest.mark.parametrize("path", BY_EVAL)
def test_eval_of_the_path(path: str, name: str) -> None:
    with pmalloc.Pool(name) as pool:
        root = pool.freeze(BY_EVAL[path])
    found = eval("root" + path)
    assert path_of(found, pool) == path
    assert path_of(root, pool) == ""


def test_the_prepared_dict_of_an_instance(name: str) -> None:
    with pmalloc.Pool(name) as pool:
        root = pool.freeze([Config(host=["localhost"]), Config()])
    assert path_of(vars(root[0]), pool) == "[0].__dict__"
    assert path_of(vars(root[0])["host"], pool) == "[0].host"
    assert path_of(vars(root[1]), pool) == "[1].__dict__"


def test_keys_and_members(name: str) -> None:
    with pmalloc.Pool(name) as pool:
        root = pool.freeze({("a", "tuple"): {"drei", "vier"}, "k" * 79: ["long"], 1j: ["complex"]})
    keys = list(root)
    assert path_of(keys[0], pool) == ".keys()[0]"
    assert path_of(keys[0][1], pool) == ".keys()[0][1]"
    assert path_of(keys[1], pool) == ".keys()[1]"
    for number, member in enumerate(root[keys[0]]):
        assert path_of(member, pool) == f"[<key 0>]{{{number}}}"
    assert path_of(root["k" * 79], pool) == "[<key 1>]"
    assert path_of(root[1j], pool) == "[<key 2>]"


@pytest.mark.parametrize(
    "source", ["k" * 78, "\n" * 39, "\n" * 40, 10**79, 10**80, -(10**79), 2.5, 3.0, 1e15]
)
def test_spelled_as_in_unfreezable_error(source: Any, name: str) -> None:
    """What both show is one text; a path that ends in what cannot be frozen is the other's."""
    with pytest.raises(pmalloc.UnfreezableError) as refused:
        pmalloc.freeze({0: [0], source: [0, iter("")]}, name=name)
    with pmalloc.Pool(name) as pool:
        root = pool.freeze({0: [0], source: [0, ["x"]]})
    spelled = refused.value.path
    if source == 1e15:  # has 16 digits: that is more than a signal handler does for it
        spelled = spelled.replace("1000000000000000.0", "<key 1>")
    assert path_of(root[source][1], pool) == spelled


def test_what_is_not_frozen_has_none(name: str) -> None:
    with pmalloc.Pool(name) as pool:
        pool.alloc(16)
    for value in ("text", [1], None, pool, Config):
        assert _core.path_of(value) is None


def test_keys_that_dicts_share(name: str) -> None:
    with pmalloc.Pool(name) as pool:
        root = pool.freeze([{"one": 1, "two": 2}, {"one": 3, "two": 4}])
    text = _core.path_of(list(root[0])[1])
    if sys.version_info >= (3, 13):
        assert text == "none (keys that dicts share)"
    else:
        assert text == f"{name}[0].keys()[1]"


# ---- more than one root --------------------------------------------------------------------------


def not_below(value: Any, top: Any, path: str) -> None:
    kind = type(top).__name__
    expected = f"<{kind} at {id(top):#x}>{path} (not below the pool's root)"
    assert _core.path_of(value) == expected


def test_what_was_frozen_earlier(name: str) -> None:
    pool = pmalloc.Pool(name)
    alone = pool.freeze({"a": [["alone"]]})
    inner = pool.freeze({"b": [["inner"]]})
    middle = pool.freeze({"m": inner})
    root = pool.freeze([0, middle])
    pool.protect()
    not_below(alone, alone, "")
    not_below(alone["a"][0], alone, "['a'][0]")
    assert path_of(inner, pool) == "[1]['m']"
    assert path_of(root[1]["m"]["b"][0][0], pool) == "[1]['m']['b'][0][0]"


def test_a_ring_that_was_frozen_earlier(name: str) -> None:
    ring: list[Any] = [["x"]]
    ring.append({"back": ring})
    pool = pmalloc.Pool(name)
    first = pool.freeze(ring)
    assert path_of(first[0], pool) == "[0]"
    assert path_of(first[1]["back"], pool) == ""
    assert path_of(pool.freeze([first])[0][0], pool) == "[0][0]"
    root = pool.freeze({"other": 1})
    assert path_of(root, pool) == ""
    # Between the ring and this root lies another that holds the ring.
    assert re.fullmatch(r"<FrozenList at 0x\w+>\[0\]\[0\] .*", _core.path_of(first[0]))


def test_a_root_outside(name: str) -> None:
    pool = pmalloc.Pool(name)
    first = pool.freeze(["x"])
    pool.freeze(None)
    not_below(first[0], first, "[0]")


def test_parts_in_several_chunks(name: str) -> None:
    """Each too large for the rest of the chunk before."""
    pool = pmalloc.Pool(name)
    large = [[i, f"{i} {'x' * 50}"] for i in range(40_000)]
    first = pool.freeze({"first": large})
    second = pool.freeze({"second": large, "has": first})
    pool.freeze({"third": large, "has": second})
    pool.protect()
    assert pool.stats()["chunks"] > 1
    assert path_of(first["first"][7][1], pool) == "['has']['has']['first'][7][1]"
    assert path_of(second["second"][39_999], pool) == "['has']['second'][39999]"


def test_a_key_that_lies_in_front(name: str) -> None:
    """The first dict's keys are in a table that is there already; only the last one needs them."""
    pmalloc.freeze([{"here first": 1, "and you": 2}, {"here first": 3, "and you": 4}])
    pool = pmalloc.Pool(name)
    root = pool.freeze([{"here first": 1, "and you": 2}, [[{"here first": 1, 7: 2}]]])
    keys = list(root[1][0][0])
    # 3.12 shares no tables: the first dict has one of its own, and the key in it.
    own = sys.version_info < (3, 13)
    assert (next(iter(root[0])) is keys[0]) == own
    assert path_of(keys[0], pool) == ("[0].keys()[0]" if own else "[1][0][0].keys()[0]")


# ---- deep ----------------------------------------------------------------------------------------


def nested(depth: int, pool: pmalloc.Pool) -> Any:
    value: Any = ["bottom"]
    for _ in range(depth):
        value = [value]
    bottom = pool.freeze(value)
    for _ in range(depth):
        bottom = bottom[0]
    return bottom


@pytest.mark.parametrize("depth", [32, 33, 1000, 1001])
def test_deep(depth: int, name: str) -> None:
    pool = pmalloc.Pool(name)
    text = _core.path_of(nested(depth, pool))
    if depth == 32:
        assert text == name + 32 * "[0]"
    elif depth <= 1000:
        assert text == f"{name}{16 * '[0]'}...({depth - 32} levels)...{16 * '[0]'}"
    else:
        assert text == "path not found within 1000 levels"


# ---- memory that somebody overwrote --------------------------------------------------------------


def test_numbers_that_look_like_references(name: str) -> None:
    """The bytes of another object, in front of the one that refers."""
    pool = pmalloc.Pool(name)
    root = pool.freeze([bytearray(800), ["x"], ["y"]])
    ctypes.memmove(id(root[0]) + 32, struct.pack("<100Q", *[id(root[2])] * 100), 800)
    assert path_of(root[2], pool) == "[2]"


def test_memory_full_of_what_looks_like_references(name: str) -> None:
    """8 million of them: it ends all the same, and soon."""

    def work() -> None:
        size = 64 << 20
        pool = pmalloc.Pool(name)
        root = pool.freeze([bytearray(size), ["x"], ["y"]])
        words = (ctypes.c_uint64 * (size // 8 - 8)).from_address(id(root[0]) + 64)
        ctypes.memmove(words, struct.pack("<Q", id(root[2])) * len(words), 8 * len(words))
        other, target = root[1], root[2]
        assert path_of(other, pool) == "[1]"
        assert path_of(target, pool) == "[2]"  # the first reference lies in front of them all
        items = ctypes.c_void_p.from_address(id(root) + 24).value
        assert items
        ctypes.memset(items + 16, 0, 8)
        start = time.monotonic()
        not_found = _core.path_of(target)
        assert time.monotonic() - start < 60
        assert not_found == "path not found within 0 levels"

    in_child(work)


def test_random_damage(name: str) -> None:
    """Any word but a reference count may be anything: an answer, or none, but an end."""
    graph = [
        {"one": [i, str(i)], "two": {str(i), b"x" * i}, i: Config(a=[i], b=i)} for i in range(30)
    ]
    graph += [Config(**{f"a{i}": [i] for i in range(40)}), slim, Pair(1, ["x"]), range(10**20)]

    def work() -> None:
        draw = random.Random(1)
        for number in range(10):
            pool = pmalloc.Pool(f"{name} {number}")
            root = pool.freeze(graph)
            known = objects(root, pool)
            counts = {id(v) for v in known}
            low, high = min(counts), max(counts)
            values = [0, 1, 8, 2**64 - 1, 2**63, id(list), id(Config), id(draw), *counts]
            for _ in range(20):
                for _ in range(draw.choice([1, 10, 100])):
                    at = draw.randrange(low, high, 8)
                    if at in counts:
                        continue
                    word = draw.choice([draw.choice(values), draw.randrange(2**64)])
                    ctypes.c_uint64.from_address(at).value = word
                for value in draw.sample(known, 3):
                    assert isinstance(_core.path_of(value), str)

    in_child(work)


def test_a_page_that_is_gone(name: str) -> None:
    """What lies before and behind it is found; what lies on it is not missed."""

    def work() -> None:
        pool = pmalloc.Pool(name)
        root = pool.freeze([[f"{i} {'x' * 50}"] for i in range(20_000)])
        last = root[-1][0]
        page = (id(root[-1000]) + mmap.PAGESIZE) & -mmap.PAGESIZE
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.munmap(ctypes.c_void_p(page), mmap.PAGESIZE) == 0
        assert path_of(last, pool) == "[19999][0]"

    in_child(work)

"""What freeze makes, what it refuses and what it leaves behind."""

import array
import collections
import copy
import enum
import gc
import io
import math
import pathlib
import pickle
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import pmalloc
from pmalloc import FrozenDict, FrozenList, FrozenSet, UnfreezableError

# ---- kinds -------------------------------------------------------------------------------

KINDS: list[tuple[object, type]] = [
    (70_000, int),
    (-(3**200), int),
    (2.5, float),
    (1 - 2j, complex),
    ("ascii text", str),
    ("Zürich", str),
    ("東京", str),
    ("🔒 lock", str),
    ("lone \ud800", str),
    (b"\0bytes\xff", bytes),
    (range(3, 10**20, 7), range),
    ((1, ("two", (3.0,))), tuple),
    ([1, [2, [3]]], FrozenList),
    ([], FrozenList),
    ({"a": {"b": 1}}, FrozenDict),
    ({}, FrozenDict),
    ({1, 2}, FrozenSet),
    (set(), FrozenSet),
    (frozenset({1, 2}), frozenset),
]


@pytest.mark.parametrize(
    ("value", "kind"), KINDS, ids=lambda v: repr(v)[:30].encode("ascii", "replace").decode()
)
def test_kind(value: object, kind: type, name: str):
    frozen = pmalloc.freeze(value, name=name)
    assert type(frozen) is kind
    assert frozen == value
    assert repr(frozen) == repr(value)
    assert pmalloc.is_protected(frozen)
    assert pmalloc.pool_of(frozen).name == name
    assert not gc.is_tracked(frozen)
    assert frozen is not value


@pytest.mark.parametrize(
    "value", [None, True, False, 0, 5, -5, 256, "", b"", (), "a", "é"], ids=repr
)
def test_what_the_interpreter_has_once_stays_where_it_is(value: object):
    frozen = pmalloc.freeze([value])
    assert frozen[0] == value
    assert type(frozen[0]) is type(value)
    if value is None or isinstance(value, (int, tuple, bytes)) or value == "":
        assert frozen[0] is value


@pytest.mark.parametrize("value", [None, True, 5, "", b"", ()], ids=repr)
def test_such_a_value_can_be_the_root(value: object, name: str):
    assert pmalloc.freeze(value, name=name) is value
    assert pmalloc.root(name) is value
    assert pmalloc.pool_of(value) is None


def test_numbers_that_are_equal_stay_what_they_are():
    values = [1, 1.0, True, 0.0, -0.0, 1 + 0j, 70_000, 70_000.0]
    frozen = pmalloc.freeze(values)
    assert [type(x) for x in frozen] == [type(x) for x in values]
    assert math.copysign(1, frozen[3]) == 1
    assert math.copysign(1, frozen[4]) == -1


def test_nan_keeps_its_bits_and_its_identity():
    odd = struct.unpack("<d", bytes.fromhex("adde00000000f87f"))[0]
    nan = math.nan
    frozen = pmalloc.freeze({"odd": odd, "pair": [nan, nan]})
    assert struct.pack("<d", frozen["odd"]).hex() == "adde00000000f87f"
    assert frozen["pair"][0] is frozen["pair"][1]
    assert frozen["pair"] == frozen["pair"]
    assert frozen["pair"][0] != frozen["pair"][0]


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: (1, (x,)), lambda x: frozenset({(x,)})])
def test_nan_as_a_key_is_found_by_its_identity(wrap: Callable[[float], Any]):
    """The hash of a NaN is its address: tables are filled anew with the address it has now."""
    for count in range(1, 30):
        source = {wrap(math.nan * i): i for i in range(count)} | {wrap(complex(0, math.nan)): -1}
        frozen = pmalloc.freeze(
            {"dict": source, "set": set(source), "frozenset": frozenset(source)}
        )
        assert len(frozen["dict"]) == count + 1
        for key, value in frozen["dict"].items():
            assert frozen["dict"][key] == value
            assert frozen["dict"].copy()[key] == value
        for kind in ("set", "frozenset"):
            assert len(frozen[kind]) == count + 1
            assert all(member in frozen[kind] for member in frozen[kind])


def test_every_kind_of_key():
    source = {
        "str": 1, "": 2, "ü": 3, "\ud800": 4, 0: 5, -1: 6, 3**70: 7, 1.5: 8, 2j: 9, None: 10,
        True: 11, b"b": 12, b"": 13, (): 14, (1, ("a", 2.5)): 15, frozenset({1, "x"}): 16,
        frozenset(): 17, range(3): 18, range(10**20): 19, math.inf: 20,
    }  # fmt: skip
    frozen = pmalloc.freeze(source)
    assert list(frozen) == list(source)
    assert list(frozen.values()) == list(source.values())
    for key, value in source.items():
        assert frozen[key] == value
        assert frozen.get(key) == value
        assert key in frozen
    assert frozen == source
    assert pmalloc.thaw(frozen) == source


@pytest.mark.parametrize(
    "size", [1, 5, 6, 10, 11, 85, 86, 170, 171, 10_000, 43_690, 43_691, 100_000]
)
@pytest.mark.parametrize("key", [str, int, lambda i: (i, str(i))], ids=["str", "int", "tuple"])
def test_dicts_around_the_sizes_of_their_tables(size: int, key: Callable[[int], Any]):
    source = {key(i): i for i in range(size)}
    frozen = pmalloc.freeze(source)
    assert all(frozen[key(i)] == i for i in range(size))
    assert key(size) not in frozen
    assert list(frozen.items()) == list(source.items())
    copied = frozen.copy()
    copied[key(size)] = size
    assert len(copied) == size + 1


def test_dict_of_a_million_keys():
    source = {f"key {i}": i for i in range(1_000_000)}
    frozen = pmalloc.freeze(source)
    assert len(frozen) == 1_000_000
    assert frozen["key 0"] == 0
    assert frozen["key 777777"] == 777_777
    assert "key 1000000" not in frozen
    assert frozen == source
    assert all(a == b for a, b in zip(frozen, source, strict=True))
    copied = frozen.copy()
    del copied["key 5"]
    copied["new"] = 1
    assert len(copied) == 1_000_000


def test_dict_with_deleted_keys():
    source = {f"key {i}": i for i in range(1000)}
    for i in range(0, 1000, 3):
        del source[f"key {i}"]
    source["key 0"] = "again, at the end"
    frozen = pmalloc.freeze(source)
    assert list(frozen.items()) == list(source.items())
    assert "key 3" not in frozen
    assert list(frozen)[-1] == "key 0"


def test_dict_of_an_instance():
    class Point:
        def __init__(self, x: int, y: int):
            self.x = x
            self.y = y

    points = [Point(i, i * 1000) for i in range(5)]
    del points[3].x
    points[3].z = [1]  # type: ignore[attr-defined]
    frozen = pmalloc.freeze([vars(p) for p in points])
    assert frozen == [vars(p) for p in points]
    assert list(frozen[3]) == ["y", "z"]
    assert [type(d) for d in frozen] == [FrozenDict] * 5


def test_set_with_removed_members():
    source = set(range(1000))
    for i in range(0, 1000, 2):
        source.discard(i)
    source.add(4)
    frozen = pmalloc.freeze(source)
    assert frozen == source
    assert list(frozen) == list(source)
    assert 6 not in frozen
    assert 4 in frozen


def test_strings_of_every_width_and_length():
    source = [
        c * n
        for c in ("a", "é", "東", "🔒", "\ud800", "\0", "\x7f", "\x80", "\uffff")
        for n in range(1, 40)
    ]
    frozen = pmalloc.freeze(source)
    assert frozen == source
    for text, original in zip(frozen, source, strict=True):
        assert hash(text) == hash(original)
        assert text.encode(errors="surrogatepass") == original.encode(errors="surrogatepass")
        assert len(text) == len(original)
        assert text.isascii() == original.isascii()


def test_interned_strings_are_found_again():
    frozen = pmalloc.freeze(["an_identifier_seen_nowhere_else", "append", "x y"])
    for text in frozen:
        interned = sys.intern(text)
        assert interned == text
        assert sys.intern(text) is interned
    if not hasattr(sys, "gettotalrefcount"):  # debug builds insist that all are marked
        assert sys.intern(frozen[1]) is sys.intern("append")
    assert getattr([], frozen[1]).__name__ == "append"


# ---- identity and sharing ---------------------------------------------------------------------


def test_shared_parts_stay_shared_and_equal_ones_apart():
    part = ["part"]
    source = {"a": part, "b": [part, (part,)], "equal": ["part"]}
    frozen = pmalloc.freeze(source)
    assert frozen["a"] is frozen["b"][0] is frozen["b"][1][0]
    assert frozen["equal"] is not frozen["a"]
    thawed = pmalloc.thaw(frozen)
    assert thawed["a"] is thawed["b"][0] is thawed["b"][1][0]
    assert thawed["equal"] is not thawed["a"]


def test_a_key_that_is_a_value_too():
    key = (1, ("two",))
    frozen = pmalloc.freeze({key: key, "set": {key}, "list": [key]})
    [first, *_] = frozen
    assert first is frozen[key] is frozen["list"][0]
    assert next(iter(frozen["set"])) is first


def test_cycle_through_a_list():
    source: list[Any] = [1]
    source.append(source)
    frozen = pmalloc.freeze(source)
    assert frozen[1] is frozen
    assert repr(frozen) == "[1, [...]]"
    thawed = pmalloc.thaw(frozen)
    assert thawed[1] is thawed
    assert type(thawed) is list


def test_cycle_through_dicts_lists_and_tuples():
    source: dict[str, Any] = {}
    source["tuple"] = ([source], source)
    frozen = pmalloc.freeze(source)
    assert frozen["tuple"][0][0] is frozen
    assert frozen["tuple"][1] is frozen
    for plain in (pmalloc.thaw(frozen), copy.deepcopy(frozen), pickle.loads(pickle.dumps(frozen))):
        assert plain["tuple"][0][0] is plain
        assert type(plain) is dict


def test_dicts_of_one_shape_do_not_share_their_values():
    source = [{"id": i, "name": str(i)} for i in range(100)]
    frozen = pmalloc.freeze(source)
    assert frozen == source
    changed = frozen[7].copy()
    changed["id"] = "changed"
    del changed["name"]
    changed["other"] = 1
    assert frozen == source


def test_shapes_in_different_orders_and_pieces():
    source = [{"a": 1, "b": 2}, {"b": 1, "a": 2}, {"a": 1}, {"a": 1, "b": 2, "c": 3}] * 3
    frozen = pmalloc.freeze(source)
    assert frozen == source
    assert [list(d) for d in frozen] == [list(d) for d in source]
    assert ["c" in d for d in frozen] == ["c" in d for d in source]


def test_frozen_again_is_the_same_object(name: str):
    frozen = pmalloc.freeze({"a": [1]})
    before = pmalloc.pools()
    assert pmalloc.freeze(frozen) is frozen
    assert pmalloc.freeze(frozen["a"]) is frozen["a"]
    assert pmalloc.freeze(frozen, name="unused") is frozen
    assert pmalloc.pools() == before
    with pmalloc.Pool(name) as pool:
        assert pool.freeze(frozen) is frozen
    assert pool.root is frozen
    assert pool.stats()["used_bytes"] == 0


@pytest.mark.parametrize("protected", [True, False])
def test_a_frozen_part_of_a_new_graph_is_referenced(protected: bool, name: str):
    first = pmalloc.Pool(f"first of {name}")
    part = first.freeze({"key": ["value", "text " * 9]})
    if protected:
        first.protect()
    second = pmalloc.freeze({"part": part, "list": part["key"], "text": part["key"][1]}, name=name)
    assert second["part"] is part
    assert second["list"] is part["key"]
    assert second["text"] is part["key"][1]
    assert pmalloc.pool_of(second).name == name
    assert pmalloc.pool_of(second["part"]).name == f"first of {name}"
    thawed = pmalloc.thaw(second)
    assert type(thawed["part"]) is dict
    assert thawed["part"]["key"] is thawed["list"]


def test_the_source_is_left_alone():
    inner = ["inner"]
    source = {"a": inner, "b": (inner, {1, 2}), "text": "x y " * 30}
    before = pickle.dumps(source), sys.getrefcount(inner), sys.getrefcount(source["text"])
    frozen = pmalloc.freeze(source)
    after = pickle.dumps(source), sys.getrefcount(inner), sys.getrefcount(source["text"])
    assert after == before
    inner.append("later")
    assert frozen["a"] == ["inner"]


def test_no_python_code_runs():
    class Loud(str):
        __slots__ = ()

        def __hash__(self):
            calls.append("hash")
            return str.__hash__(self)

        def __eq__(self, other):
            calls.append("eq")
            return str.__eq__(self, other)

        def __repr__(self):
            calls.append("repr")
            return "loud"

    calls: list[str] = []
    source = {Loud("key"): 1}
    calls.clear()
    with pytest.raises(UnfreezableError):
        pmalloc.freeze(source)
    assert calls == []


# ---- refused -------------------------------------------------------------------------------


C_CODE = (
    "it is built by C code that freeze does not know; register() its type, name the type in "
    "externals=, or turn the object into plain data first"
)
SUBCLASS = "it is a subclass of {0}; freeze a plain copy, {0}(x), or register() one"
NUMBER = "it is a subclass of {0}; freeze a plain {0}, {0}(x), or register() one"
PLAIN_ONE = "it is a subclass of complex; freeze a plain one, complex(x), or register() one"
PLAIN_STR = "it is a subclass of str; freeze a plain copy, str.__str__(x), or register() one"
ITERATOR = "it is consumed by reading; freeze list(x)"


class Color(enum.Enum):
    RED = 1


class Number(enum.IntEnum):
    ONE = 1


class Plain:
    pass


def subclass(kind: type, *args: object) -> object:
    return type("Special", (kind,), {})(*args)


Row = collections.namedtuple("Row", "a")  # noqa: PYI024

REFUSED: list[tuple[object, str, str]] = [
    (array.array("i"), "array.array", C_CODE),
    (collections.deque(), "collections.deque", "it is a queue; freeze list(x)"),
    ({}.keys(), "dict_keys", C_CODE),
    ({}.items(), "dict_items", C_CODE),
    (slice(1), "slice", C_CODE),
    (sys.version_info, "sys.version_info", C_CODE),
    (threading.Lock(), "_thread.lock", C_CODE),
    (
        ValueError(),
        "ValueError",
        "it is an exception, with frames and whatever is in them; freeze what it says",
    ),
    (iter([]), "list_iterator", ITERATOR),
    (iter({}), "dict_keyiterator", ITERATOR),
    ((x for x in ()), "generator", ITERATOR),
    (zip(), "zip", ITERATOR),
    (io.StringIO(), "_io.StringIO", "it is a file; freeze what it contains"),
    (memoryview(b"x"), "memoryview", "it is a view of other memory; freeze bytes(x)"),
    (subclass(int, 1), "Special", NUMBER.format("int")),
    (subclass(float, 1), "Special", NUMBER.format("float")),
    (subclass(complex), "Special", PLAIN_ONE),
    (subclass(str, "x"), "Special", PLAIN_STR),
    (subclass(bytes, b"x"), "Special", SUBCLASS.format("bytes")),
    (subclass(set), "Special", SUBCLASS.format("set")),
    (subclass(frozenset), "Special", SUBCLASS.format("frozenset")),
]  # fmt: skip

OUTSIDERS = [
    Color.RED,
    Number.ONE,
    pathlib.PurePosixPath("x"),
    sys,
    Plain,
    len,
    subclass,
    ...,
    object(),
]


@pytest.mark.parametrize("outsider", OUTSIDERS, ids=lambda o: type(o).__name__)
def test_what_stays_outside_is_no_root(outsider: object):
    with pytest.raises(UnfreezableError, match="there is nothing to freeze") as caught:
        pmalloc.freeze(outsider)
    assert caught.value.path == ""
    frozen = pmalloc.freeze({"a": [0, {"b": outsider}]})
    assert frozen["a"][1]["b"] is outsider


@pytest.mark.parametrize(
    ("culprit", "kind", "advice"), REFUSED, ids=[f"{r[1]}-{i}" for i, r in enumerate(REFUSED)]
)
def test_refused(culprit: object, kind: str, advice: str):
    before = pmalloc.pools()
    with pytest.raises(UnfreezableError) as caught:
        pmalloc.freeze({"a": [0, {"b": culprit}]})
    assert caught.value.path == "['a'][1]['b']"
    assert str(caught.value) == f"cannot freeze {kind} at ['a'][1]['b']: {advice}"
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, pmalloc.PmallocError)
    with pytest.raises(UnfreezableError) as caught:
        pmalloc.freeze(culprit)
    assert caught.value.path == ""
    assert str(caught.value) == f"cannot freeze {kind} at the root: {advice}"
    assert pmalloc.pools() == before


def nested(depth: int, value: object) -> object:
    for _ in range(depth):
        value = [value]
    return value


BAD = iter(())
PATHS: list[tuple[object, str]] = [
    ([BAD], "[0]"),
    ((1, BAD), "[1]"),
    ({"a": BAD}, "['a']"),
    ({"it's": BAD}, '["it\'s"]'),
    ({"é\n": BAD}, "['é\\n']"),
    ({None: {True: {1: {b"x": {2.5: BAD}}}}}, "[None][True][1][b'x'][2.5]"),
    ({-7: {3**50: BAD}}, f"[-7][{3**50}]"),
    ({(1, 2): BAD}, "[<key 0>]"),
    ({"first": 1, frozenset(): BAD}, "[<key 1>]"),
    ({"k" * 90: BAD}, "[<key 0>]"),
    ({BAD: 1}, ".keys()[0]"),
    ({1: 1, ("x", BAD): 1}, ".keys()[1][1]"),
    ({"s": {BAD}}, "['s']{0}"),
    (frozenset({(1, (BAD,))}), "{0}[1][0]"),
    ([[1, [2]], {"a": ({"b": [0, 0, BAD]},)}], "[1]['a'][0]['b'][2]"),
    (nested(32, BAD), "[0]" * 32),
    (nested(33, BAD), "[0]" * 16 + "...(1 levels)..." + "[0]" * 16),
    (nested(1_000_000, BAD), "[0]" * 16 + "...(999968 levels)..." + "[0]" * 16),
]


@pytest.mark.parametrize(("source", "path"), PATHS, ids=[str(i) for i in range(len(PATHS))])
def test_path(source: object, path: str):
    with pytest.raises(UnfreezableError) as caught:
        pmalloc.freeze(source)
    assert caught.value.path == path
    assert f" at {path}: " in str(caught.value)


def test_path_to_the_first_of_several_ways():
    part = [BAD]
    with pytest.raises(UnfreezableError) as caught:
        pmalloc.freeze({"deep": [[part]], "near": part})
    assert caught.value.path == "['near'][0]"


def test_path_with_shared_parts_before_the_culprit():
    shared = ["shared"]
    source = [shared, shared, {"a": shared, "b": (shared, [shared, BAD])}]
    with pytest.raises(UnfreezableError) as caught:
        pmalloc.freeze(source)
    assert eval("source" + caught.value.path) is BAD


def test_nothing_is_left_after_an_error(name: str):
    pool = pmalloc.Pool(name)
    pool.alloc(100)
    frozen = pool.freeze(["good"])
    source = {"records": [{"id": i, "name": f"unheard of {i}"} for i in range(500)], "bad": BAD}

    def state() -> object:
        gc.collect()
        return pool.stats(), pmalloc.pools(), sys.getrefcount(BAD)

    before = state()
    for _ in range(3):
        with pytest.raises(UnfreezableError):
            pool.freeze(source)
        with pytest.raises(UnfreezableError):
            pmalloc.freeze(source, name="gone")
    assert state() == before
    assert pool.root is frozen
    del source["bad"]
    assert pool.freeze(source) == source
    with pytest.raises(KeyError):
        pmalloc.root("gone")


def test_errors_leave_no_memory_behind():
    """Ten thousand refused graphs; a node array each would be hundreds of megabytes."""
    source = [list(range(5000)), BAD]

    def resident() -> int:
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096

    for _ in range(100):
        with pytest.raises(UnfreezableError):
            pmalloc.freeze(source)
    before = resident()
    for _ in range(10_000):
        try:
            pmalloc.freeze(source)
        except UnfreezableError:
            continue
    assert resident() - before < 16 << 20


def test_unfreezable_error_can_be_pickled_and_made():
    error = UnfreezableError("text")
    assert str(pickle.loads(pickle.dumps(error))) == "text"

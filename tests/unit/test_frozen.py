"""Frozen is frozen; and what thaw, copy and pickle make of it is plain."""

import collections
import copy
import gc
import io
import operator
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from child import in_child
from plain import plain_types

import pmalloc
from pmalloc import FrozenDict, FrozenList, FrozenSet

# ---- frozen is frozen -------------------------------------------------------------------------

# What each method of the mutable type does to a frozen one. A method that a later Python adds is
# in neither list, and the test below fails until somebody decides.
OBJECT = {name for name in dir(object) if name not in ("__init__", "__setattr__", "__delattr__")}
ALWAYS: dict[str, tuple[object, ...]] = {
    "__init__": (),
    "__setattr__": ("x", 1),
    "__delattr__": ("x",),
}
MUTATORS: dict[type, dict[str, tuple[object, ...]]] = {
    dict: ALWAYS
    | {
        "__setitem__": ("a", 1),
        "__delitem__": ("a",),
        "__ior__": ({},),
        "clear": (),
        "pop": ("a",),
        "popitem": (),
        "setdefault": ("a",),
        "update": (),
    },
    list: ALWAYS
    | {
        "__setitem__": (0, 1),
        "__delitem__": (0,),
        "__iadd__": ([],),
        "__imul__": (1,),
        "append": (1,),
        "clear": (),
        "extend": ([],),
        "insert": (0, 1),
        "pop": (),
        "remove": (1,),
        "reverse": (),
        "sort": (),
    },
    set: ALWAYS
    | {
        "__ior__": (set(),),
        "__iand__": (set(),),
        "__isub__": (set(),),
        "__ixor__": (set(),),
        "add": (1,),
        "clear": (),
        "difference_update": (),
        "discard": (1,),
        "intersection_update": (),
        "pop": (),
        "remove": (1,),
        "symmetric_difference_update": ([],),
        "update": (),
    },
}
READERS: dict[type, set[str]] = {
    dict: OBJECT
    | {
        "__class_getitem__", "__contains__", "__getitem__", "__iter__", "__len__", "__or__",
        "__reversed__", "__ror__", "copy", "fromkeys", "get", "items", "keys", "values",
    },
    list: OBJECT
    | {
        "__add__", "__class_getitem__", "__contains__", "__getitem__", "__iter__", "__len__",
        "__mul__", "__reversed__", "__rmul__", "copy", "count", "index",
    },
    set: OBJECT
    | {
        "__and__", "__class_getitem__", "__contains__", "__iter__", "__len__", "__or__", "__rand__",
        "__ror__", "__rsub__", "__rxor__", "__sub__", "__xor__", "copy", "difference",
        "intersection", "isdisjoint", "issubset", "issuperset", "symmetric_difference", "union",
    },
}  # fmt: skip
SAMPLE: dict[type, Callable[[], Any]] = {
    dict: lambda: {"a": 1, "b": [2]},
    list: lambda: [1, 2, 3],
    set: lambda: {1, 2, 3},
}
FROZEN_TYPE = {dict: FrozenDict, list: FrozenList, set: FrozenSet}
ALL_MUTATORS = [(kind, name) for kind, names in MUTATORS.items() for name in names]


@pytest.mark.parametrize("kind", MUTATORS, ids=lambda k: k.__name__)
def test_every_method_is_known(kind: type):
    assert set(dir(kind)) == READERS[kind] | set(MUTATORS[kind])


@pytest.mark.parametrize("kind", MUTATORS, ids=lambda k: k.__name__)
def test_frozen_type_has_every_method_of_its_original(kind: type):
    assert set(dir(kind)) - set(dir(FROZEN_TYPE[kind])) == set()


@pytest.mark.parametrize("state", ["protected", "open"])
@pytest.mark.parametrize(("kind", "method"), ALL_MUTATORS, ids=lambda v: getattr(v, "__name__", v))
def test_mutator_raises(kind: type, method: str, state: str, name: str):
    if state == "protected":
        frozen = pmalloc.freeze(SAMPLE[kind]())
    else:
        frozen = pmalloc.Pool(name).freeze(SAMPLE[kind]())
    type_name = FROZEN_TYPE[kind].__name__
    with pytest.raises(
        TypeError, match=f"^'{type_name}' object (is frozen: |does not support item )"
    ):
        getattr(frozen, method)(*MUTATORS[kind][method])
    with pytest.raises(TypeError, match=f"^'{type_name}' object "):
        getattr(type(frozen), method)(frozen, *MUTATORS[kind][method])
    assert frozen == SAMPLE[kind]()


@pytest.mark.parametrize(
    ("kind", "method"),
    [(k, m) for k, m in ALL_MUTATORS if m == "__init__" or not m.startswith("__")],
    ids=lambda v: getattr(v, "__name__", v),
)
def test_mutator_raises_whatever_its_arguments(kind: type, method: str):
    frozen = pmalloc.freeze(SAMPLE[kind]())
    message = rf"^'{FROZEN_TYPE[kind].__name__}' object is frozen: {method}\(\) would change it$"
    for args, kwargs in (((), {}), ((1,), {}), ((1, 2, 3), {}), ((), {"key": 1}), ((frozen,), {})):
        with pytest.raises(TypeError, match=message):
            getattr(frozen, method)(*args, **kwargs)


NO_ITEMS = "does not support item"
FROZEN_ATTRIBUTE = "is frozen: setting attribute '__class__' would change it"
STATEMENTS: list[tuple[type, str, str]] = [
    (dict, "x['a'] = 1", f"{NO_ITEMS} assignment"),
    (dict, "x['new'] = 1", f"{NO_ITEMS} assignment"),
    (dict, "x['a'] += 1", f"{NO_ITEMS} assignment"),
    (dict, "for x['a'] in [1]: pass", f"{NO_ITEMS} assignment"),
    (dict, "del x['a']", f"{NO_ITEMS} deletion"),
    (dict, "del x['missing']", f"{NO_ITEMS} deletion"),
    (dict, "x |= {}", "is frozen: |= would change it"),
    (dict, "x.y = 1", "is frozen: setting attribute 'y' would change it"),
    (dict, "del x.y", "is frozen: deleting attribute 'y' would change it"),
    (dict, "x.__class__ = dict", FROZEN_ATTRIBUTE),
    (list, "x[0] = 1", f"{NO_ITEMS} assignment"),
    (list, "x[99] = 1", f"{NO_ITEMS} assignment"),
    (list, "x[0] += 1", f"{NO_ITEMS} assignment"),
    (list, "x[:] = []", f"{NO_ITEMS} assignment"),
    (list, "x[1:2] += [1]", f"{NO_ITEMS} assignment"),
    (list, "[x[0], *_] = 1, 2", f"{NO_ITEMS} assignment"),
    (list, "del x[0]", f"{NO_ITEMS} deletion"),
    (list, "del x[:]", f"{NO_ITEMS} deletion"),
    (list, "x += [1]", "is frozen: += would change it"),
    (list, "x *= 2", "is frozen: *= would change it"),
    (list, "x.y = 1", "is frozen: setting attribute 'y' would change it"),
    (list, "x.__class__ = list", FROZEN_ATTRIBUTE),
    (set, "x |= {1}", "is frozen: |= would change it"),
    (set, "x &= {1}", "is frozen: &= would change it"),
    (set, "x -= {1}", "is frozen: -= would change it"),
    (set, "x ^= {1}", "is frozen: ^= would change it"),
    (set, "del x.y", "is frozen: deleting attribute 'y' would change it"),
    (set, "x.__class__ = frozenset", FROZEN_ATTRIBUTE),
]


@pytest.mark.parametrize(("kind", "statement", "message"), STATEMENTS)
def test_statement_raises(kind: type, statement: str, message: str):
    frozen = pmalloc.freeze(SAMPLE[kind]())
    with pytest.raises(TypeError) as caught:
        exec(statement, {"x": frozen})
    assert str(caught.value) == f"'{FROZEN_TYPE[kind].__name__}' object {message}"
    assert frozen == SAMPLE[kind]()


@pytest.mark.parametrize(
    "change",
    [
        lambda x: operator.setitem(x, "a", 1),
        lambda x: operator.delitem(x, "a"),
        lambda x: operator.ior(x, {}),
        lambda x: setattr(x, "y", 1),
        lambda x: delattr(x, "y"),
        lambda x: object.__setattr__(x, "__class__", dict),
    ],
)
def test_change_from_c_that_asks_the_type_raises(change: Callable[[Any], Any]):
    frozen = pmalloc.freeze({"a": 1})
    with pytest.raises(TypeError):
        change(frozen)
    assert frozen == {"a": 1}


def test_frozen_types_make_plain_objects():
    for made, plain in [
        (FrozenDict(a=1), {"a": 1}),
        (FrozenDict([(1, 2)]), {1: 2}),
        (FrozenDict.fromkeys("ab"), {"a": None, "b": None}),
        (FrozenList("ab"), ["a", "b"]),
        (FrozenSet("ab"), {"a", "b"}),
        (FrozenSet(), set()),
    ]:
        assert made == plain
        assert type(made) is type(plain)


@pytest.mark.parametrize("kind", [FrozenDict, FrozenList, FrozenSet])
def test_frozen_type_cannot_be_altered(kind: type):
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Sub", (kind,), {})
    with pytest.raises(TypeError, match="immutable type"):
        kind.x = 1  # type: ignore[attr-defined]
    for base in (dict, list, frozenset, object):
        with pytest.raises(TypeError):
            base.__new__(kind)
    assert kind.__module__ == "pmalloc"


def test_frozen_set_is_as_unhashable_as_a_set():
    """As a key it could not be thawed to the set it was."""
    frozen = pmalloc.freeze({1, 2})
    with pytest.raises(TypeError, match=r"unhashable type: 'pmalloc\.FrozenSet'"):
        hash(frozen)
    with pytest.raises(TypeError, match="unhashable"):
        {frozen: 1}
    assert isinstance(frozen, frozenset)
    assert not isinstance(frozen, set)


# ---- thaw, copy, pickle -------------------------------------------------------------------------


def everything() -> dict[Any, Any]:
    shared = ["shared", {"deep": ("tuple", {1, 2}, frozenset({"f"}))}]
    return {
        "numbers": [0, 1, -1, 70_000, 3**99, -(2**30), 2**30, 2.5, -0.0, 1j, True, None],
        "strings": ["", "a", "é", "ascii", "Zürich", "東京", "🔒", "\ud800"],
        "bytes": [b"", b"x", b"xyz" * 10],
        "ranges": [range(0), range(5), range(3, 10**20, 7), range(10**20, 0, -(10**18))],
        "records": [{"id": i, "tags": ["t"]} for i in range(3)],
        "sets": [set(), {1}, set(range(1000)), frozenset(), frozenset({frozenset({1})})],
        (1, ("key", 2.5)): shared,
        frozenset({"k"}): shared,
        3**60: (shared, shared),
    }


def test_thaw_gives_plain_objects_all_the_way_down():
    thawed = pmalloc.thaw(pmalloc.freeze(everything()))
    assert thawed == everything()
    assert plain_types(thawed)
    thawed["records"][0]["id"] = 5
    thawed["sets"][0].add(1)
    thawed["strings"].append("x")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_gives_plain_objects(protocol: int):
    plain = pickle.loads(pickle.dumps(pmalloc.freeze(everything()), protocol))
    assert plain == everything()
    assert plain_types(plain)
    assert plain[(1, ("key", 2.5))] is plain[frozenset({"k"})]


def test_python_pickler_gives_plain_objects():
    stream = io.BytesIO()
    pickle._Pickler(stream, 4).dump(pmalloc.freeze(everything()))  # type: ignore[attr-defined]
    assert pickle.loads(stream.getvalue()) == everything()


def test_pickle_needs_no_pmalloc_to_load():
    data = pickle.dumps(pmalloc.freeze([{1, 2}, {"a": 1}, [2]]))
    assert b"pmalloc" not in data


def test_deepcopy_gives_plain_objects():
    plain = copy.deepcopy(pmalloc.freeze(everything()))
    assert plain == everything()
    assert plain_types(plain)


def test_deepcopy_of_plain_with_frozen_parts_keeps_sharing():
    part = pmalloc.freeze({"a": ["x"]})
    plain = copy.deepcopy({"one": part, "two": part, "inner": part["a"]})
    assert plain["one"] is plain["two"]
    assert plain["inner"] is plain["one"]["a"]
    plain["inner"].append(1)


@pytest.mark.parametrize("kind", MUTATORS, ids=lambda k: k.__name__)
def test_shallow_copies_are_plain(kind: type):
    frozen = pmalloc.freeze(SAMPLE[kind]())
    for plain in (copy.copy(frozen), frozen.copy(), kind(frozen)):
        assert type(plain) is kind
        assert plain == SAMPLE[kind]()


def test_thaw_of_plain_with_frozen_parts():
    part = pmalloc.freeze({"a": [1]})
    thing = object()
    thawed = pmalloc.thaw([part, thing, part, ["plain"]])
    assert thawed[0] == {"a": [1]}
    assert type(thawed[0]["a"]) is list
    assert thawed[0] is thawed[2]
    assert thawed[1] is thing


@pytest.mark.parametrize("value", [None, True, 5, "", "x", b"", (), 2.5, 10**50])
def test_thaw_of_a_scalar(value: object):
    thawed = pmalloc.thaw(pmalloc.freeze(value))
    assert thawed == value
    assert type(thawed) is type(value)
    assert pmalloc.pool_of(thawed) is None


def test_thaw_outlives_the_pool():
    def work() -> None:
        frozen = pmalloc.freeze(everything())
        thawed, copied = pmalloc.thaw(frozen), copy.deepcopy(frozen)
        pool = pmalloc.pool_of(frozen)
        del frozen
        pool.destroy(force=True)
        gc.collect()
        assert repr(thawed) == repr(copied) == repr(everything())
        assert thawed == copied == everything()

    in_child(work)


def test_thaw_while_a_key_changes_what_is_thawed():
    """Keys of plain parts may have an __eq__ in Python, called while the copy is filled."""

    class Key:
        def __hash__(self):
            return 1

        def __eq__(self, other):
            if armed and "list" in source:
                source["list"].clear()
                source.clear()
                source.update((i, [i]) for i in range(10_000))
            return self is other

    armed = False
    keys = [Key(), Key(), Key()]
    source: dict[Any, Any] = {"list": [object() for _ in range(100)]}
    source |= {key: [object()] for key in keys}
    source["frozen"] = pmalloc.freeze({"a": [1]})
    source["set"] = set(keys)
    armed = True
    thawed = pmalloc.thaw(source)
    armed = False
    assert list(thawed) == ["list", *keys, "frozen", "set"]
    assert len(thawed["list"]) == 100
    assert [len(thawed[key]) for key in keys] == [1, 1, 1]
    assert thawed["frozen"] == {"a": [1]}
    assert thawed["set"] == set(keys)
    assert len(source) == 10_000


@pytest.mark.parametrize(("kind", "source"), [(dict, {"a": 1}), (list, [1, 2])])
def test_a_subclass_on_the_right_is_asked_first(kind: type, source: Any):
    """As it is where the left operand is a plain dict or list."""

    def answer(self, other):
        return (type(other).__name__, len(other))

    frozen = pmalloc.freeze(source)
    special = type("Special", (kind,), {"__eq__": answer, "__ne__": answer, "__gt__": answer})()
    silent = type("Silent", (kind,), {"__eq__": lambda self, other: NotImplemented})(source)
    assert (source == special) == (kind.__name__, len(source))
    assert (frozen == special) == (type(frozen).__name__, len(source))
    assert (frozen != special) == (type(frozen).__name__, len(source))
    assert (frozen == silent) is (source == silent) is True
    if kind is list:
        assert (frozen < special) == (type(frozen).__name__, len(source))
    ordered = collections.OrderedDict({"a": 1})
    assert (frozen == ordered) is (source == ordered)
    assert frozen != "text"
    assert not frozen == 1


def test_equal_in_whatever_order():
    source = {f"key {i}": [i] for i in range(100)} | {(1, 2): 3, 10**20: 4}
    frozen = pmalloc.freeze(source)
    backwards = dict(reversed(source.items()))
    half = dict(list(source.items())[50:] + list(source.items())[:50])
    for same in (source, backwards, half, frozen, pmalloc.freeze(backwards)):
        assert frozen == same
        assert same == frozen
        assert not frozen != same
    for change in ({"key 0": 0}, {"key 99": [100]}, {(1, 2): 4}):
        for other in (source | change, backwards | change):
            assert frozen != other
            assert other != frozen
    del half["key 7"]
    assert frozen != half
    assert frozen != half | {"other": [7]}

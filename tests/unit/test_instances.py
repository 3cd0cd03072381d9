"""Instances of classes: what they become, and that they behave as instances of their class."""

import collections
import copy
import dataclasses
import decimal
import gc
import pathlib
import pickle
import re
import sys
import weakref
from typing import Any

import pytest
from instances import (
    BY_IDENTITY,
    FROZEN,
    INSTANCES,
    ZONE,
    Child,
    Color,
    Pair,
    Plain,
    Point,
    Row,
    Shape,
    Slots,
    Square,
    Version,
    content,
    with_attributes,
)

import pmalloc

each = pytest.mark.parametrize("name", INSTANCES)


@each
def test_it_is_what_it_was(name: str):
    plain, frozen = INSTANCES[name], FROZEN[name]
    assert pmalloc.is_protected(frozen)
    assert isinstance(frozen, type(plain))
    assert frozen.__class__ is type(plain)
    assert type(frozen).__name__ == type(plain).__name__
    assert not gc.is_tracked(frozen)
    if name in BY_IDENTITY:
        assert content(frozen) == content(plain)
    else:
        assert frozen == plain
        assert plain == frozen
        assert not frozen != plain
        if "namespace" not in name and name != "slots":
            assert repr(frozen) == repr(plain)
            assert str(frozen) == str(plain)
    try:
        expected = hash(plain)
    except TypeError:
        with pytest.raises(TypeError):
            hash(frozen)
    else:
        assert hash(frozen) == expected or name in BY_IDENTITY


@each
def test_thaw_copy_pickle_give_ordinary_ones(name: str):
    plain, frozen = INSTANCES[name], FROZEN[name]
    copies = [pmalloc.thaw(frozen)]
    if name != "mappingproxy":  # an ordinary one is refused too
        copies += [copy.copy(frozen), copy.deepcopy(frozen)]
        copies += [pickle.loads(pickle.dumps(frozen, n)) for n in range(2, 6)]
    for made in copies:
        assert type(made) is type(plain)
        assert content(made) == content(plain) if name in BY_IDENTITY else made == plain
    assert not pmalloc.is_protected(copies[0])


def test_what_becomes_something_else():
    ordered = collections.OrderedDict.fromkeys("abc")
    ordered.move_to_end("a")
    source: Any = {
        "ordered": ordered,
        "default": collections.defaultdict(list, {"k": [1]}),
        "bytes": bytearray(b"changing"),
        "empty": bytearray(),
    }
    frozen = pmalloc.freeze(source)
    assert type(frozen["ordered"]) is pmalloc.FrozenDict
    assert list(frozen["ordered"]) == ["b", "c", "a"]
    assert type(frozen["default"]) is pmalloc.FrozenDict
    with pytest.raises(KeyError):
        frozen["default"]["missing"]
    assert frozen["bytes"] == b"changing"
    assert type(frozen["bytes"]) is bytes
    assert type(frozen["empty"]) is bytes
    assert {b"changing": 1}[frozen["bytes"]] == 1


def test_externals_stay_outside_and_alive():
    def function() -> None: ...

    class Local:
        pass

    outside: Any = [
        *(Color.RED, re.RegexFlag.I, Local, int, function, len, [].append, sys, re.compile("x")),
        *(pathlib.PurePosixPath("/srv"), pathlib.Path("x"), ZONE, ..., NotImplemented, object()),
        *(list[int], int | str, "".join, str.join),
    ]
    frozen = pmalloc.freeze(outside)
    for source, found in zip(outside, frozen, strict=True):
        assert found is source
        assert not pmalloc.is_protected(found)
    alive = weakref.ref(Local), weakref.ref(function)
    del outside, source, found, function, Local
    gc.collect()
    assert all(reference() is not None for reference in alive)
    assert frozen[2].__name__ == "Local"
    thawed = pmalloc.thaw(frozen)
    assert thawed[0] is Color.RED
    assert thawed[11] is ZONE


def test_externals_that_the_user_names():
    import threading

    lock = threading.Lock()
    source = {"lock": lock, "plain": Plain(name="x")}
    frozen = pmalloc.freeze(source, externals=(type(lock), Plain))
    assert frozen["lock"] is lock
    assert frozen["plain"] is source["plain"]
    assert pmalloc.freeze([lock], externals=type(lock))[0] is lock
    with pytest.raises(TypeError, match="externals= takes types, not int"):
        pmalloc.freeze([lock], externals=[1])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        pmalloc.freeze([lock], externals=1)  # type: ignore[call-overload]


def test_shared_parts_and_cycles_through_instances():
    inner = ["shared"]
    first, second = Plain(part=inner), Slots(inner, None)
    first.other = second
    second.b = first
    frozen = pmalloc.freeze([first, second, inner])
    assert frozen[0].part is frozen[2]
    assert frozen[1].a is frozen[2]
    assert frozen[0].other is frozen[1]
    assert frozen[1].b is frozen[0]
    for made in (pmalloc.thaw(frozen), copy.deepcopy(frozen), pickle.loads(pickle.dumps(frozen))):
        assert made[0].other is made[1]
        assert made[1].b is made[0]
        assert made[0].part is made[2] is made[1].a


def test_instances_as_keys():
    by_identity, by_value = Plain(name="k"), Slots(1, (2, 3))
    source: Any = {
        "keys": {by_identity: "i", by_value: "v", (by_identity, 1): "t"},
        "set": {by_identity, by_value, frozenset([by_identity])},
        "same": by_identity,
        "counter": collections.Counter([by_identity, by_value, by_value]),
    }
    frozen = pmalloc.freeze(source)
    key = frozen["same"]
    assert hash(key) != hash(by_identity) or key is by_identity
    assert frozen["keys"][key] == "i"
    assert frozen["keys"][key, 1] == "t"
    assert frozen["keys"][Slots(1, (2, 3))] == "v"
    assert key in frozen["set"]
    assert frozenset([key]) in frozen["set"]
    assert Slots(1, (2, 3)) in frozen["set"]
    assert by_identity not in frozen["keys"]
    assert frozen["counter"][key] == 1
    assert frozen["counter"][by_value] == 2
    thawed = pmalloc.thaw(frozen)
    assert thawed["keys"][thawed["same"]] == "i"
    assert thawed["set"] == {thawed["same"], by_value, frozenset([thawed["same"]])}


def test_attributes_in_another_order_and_of_other_names():
    many = [
        Plain(a=1, b=2),
        Plain(b=3, a=4),
        Plain(b=5),
        Plain(c=6),
        Plain(**{f"wide{i}": i for i in range(40)}),
        with_attributes(Plain(), **{f"late{i}": i for i in range(29)}),
    ]
    deleted = Plain(a=1, b=2, c=3)
    del deleted.b
    many.append(deleted)
    odd = Plain(a=1)
    odd.__dict__[5] = "not a name"
    many.append(odd)
    frozen = pmalloc.freeze(many)
    later = pmalloc.freeze([Plain(later=1, a=2), *many])
    for found in (frozen, later[1:]):
        for plain, instance in zip(many, found, strict=True):
            assert vars(instance) == vars(plain)
            assert list(vars(instance)) == list(vars(plain))
            for name in vars(plain):
                if isinstance(name, str):
                    assert getattr(instance, name) == getattr(plain, name)
            assert not hasattr(instance, "missing")
    assert vars(later[0]) == {"later": 1, "a": 2}
    assert "b" not in vars(frozen[6])
    assert not hasattr(frozen[6], "b")
    for made in pmalloc.thaw(frozen), pickle.loads(pickle.dumps(frozen)):
        assert [vars(m) for m in made] == [vars(m) for m in many]


def test_methods_properties_and_match():
    point = FROZEN["dataclass"]
    assert point.norm() == 70_000**2 + 4
    assert FROZEN["plain"].shout == "PLAIN"
    assert FROZEN["plain"].kind == "plain"
    match point:
        case Point(x, y=2):
            assert x == 70_000
        case _:
            raise AssertionError("no match")
    match FROZEN["NamedTuple"]:
        case Pair(left, "r"):
            assert left == 70_000
    assert dataclasses.asdict(point) == {"x": 70_000, "y": 2, "tags": ["t"]}
    assert type(dataclasses.asdict(point)["tags"]) is list
    assert dataclasses.astuple(point) == (70_000, 2, ["t"])
    assert [f.name for f in dataclasses.fields(point)] == ["x", "y", "tags"]
    changed = dataclasses.replace(point, y=9)
    assert type(changed) is Point
    assert changed == Point(70_000, 9, ["t"])
    assert FROZEN["frozen dataclass"] < Version(4, 0)
    assert FROZEN["namedtuple"]._replace(id=1) == Row(1, "name")
    assert FROZEN["abstract base"].area() == 70_000**2
    assert isinstance(FROZEN["abstract base"], Shape)
    assert not isinstance(Square(1), type(FROZEN["abstract base"]))
    assert isinstance(Square(1), Square)


def test_a_cached_property_is_computed_where_it_was_not_cached():
    cached = Plain(name="c")
    assert cached.costly == [1, 2, 3]
    with_cache, without = pmalloc.freeze([cached, Plain(name="n")])
    assert type(with_cache.costly) is pmalloc.FrozenList
    assert with_cache.costly is with_cache.costly
    assert type(without.costly) is list
    assert without.costly is not without.costly
    assert FROZEN["IPv6Network"].broadcast_address == INSTANCES["IPv6Network"].broadcast_address


def test_a_twin_makes_ordinary_instances():
    twin = type(FROZEN["dataclass"])
    assert issubclass(twin, Point)
    assert issubclass(twin, pmalloc.FrozenInstance)
    made = twin(1, 2)
    assert type(made) is Point
    made.x = 5


class AttrDict(dict):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.__dict__ = self


def test_a_dict_that_is_its_own_attributes():
    frozen = pmalloc.freeze(AttrDict({"a": 70_000, "b": [1]}))
    assert frozen.a == frozen["a"] == 70_000
    assert frozen.b is frozen["b"]
    for made in (pmalloc.thaw(frozen), copy.deepcopy(frozen), copy.copy(frozen)):
        assert type(made) is AttrDict
        assert made == {"a": 70_000, "b": [1]}
        made.z = 5
        assert made["z"] == 5
        made["y"] = 6
        assert made.y == 6


@pytest.mark.parametrize("first", [0, 1], ids=["instance first", "dict first"])
@pytest.mark.parametrize("cls", [Plain, Child, AttrDict])
def test_a_graph_with_an_instance_and_its_dict(cls, first):
    """They stay one, and so does what lies in both; as ordinary objects they come out as two."""
    source = cls(1, 2) if cls is Child else cls()
    source.x = [70_000]
    source.me = source.__dict__
    frozen = pmalloc.freeze([source, source.__dict__][:: 1 - 2 * first])
    instance, attributes = frozen[:: 1 - 2 * first]
    assert instance.__dict__ is attributes is instance.me is attributes["me"]
    assert instance.x is attributes["x"]
    assert pmalloc.freeze([instance, attributes])[1] is instance.__dict__
    instance, attributes = pmalloc.thaw(frozen)[:: 1 - 2 * first]
    assert instance.me is attributes is attributes["me"]
    assert instance.x is attributes["x"]
    assert (instance.__dict__ is attributes) is (cls is AttrDict)


def test_instances_that_share_their_dict():
    one, other = Plain(x=[70_000]), Plain()
    other.__dict__ = one.__dict__
    frozen = pmalloc.freeze([one, other])
    assert frozen[0].__dict__ is frozen[1].__dict__
    assert frozen[0].x is frozen[1].x == [70_000]
    thawed = pmalloc.thaw(frozen)
    assert thawed[0].__dict__ is not thawed[1].__dict__
    assert thawed[0].x is thawed[1].x == [70_000]


def test_a_class_is_not_told_of_its_twin():
    told = []

    class Base:
        def __init_subclass__(cls) -> None:
            told.append(cls)

    frozen = pmalloc.freeze([with_attributes(Base(), x=1)])
    assert frozen[0].x == 1
    assert told == []


def test_weak_references():
    for name in ("plain", "slots", "dataclass", "dict subclass"):
        with pytest.raises(TypeError, match="cannot create weak reference"):
            weakref.ref(FROZEN[name])
    references = [weakref.ref(FROZEN["UUID"]) for _ in range(10)]
    assert all(r() is FROZEN["UUID"] for r in references)


def test_weak_references_die_with_the_pool():
    pool = pmalloc.Pool("weak references")
    members = pool.freeze(frozenset("abc"))
    reference = weakref.ref(members)
    pool.protect()
    assert reference() is members
    del members
    pool.destroy(force=True)
    assert reference() is None
    assert "dead" in repr(reference)
    del reference
    repr(gc.get_objects(0))


def test_nan_decimals():
    frozen = pmalloc.freeze([decimal.Decimal("NaN7"), decimal.Decimal("-NaN")])
    assert [str(d) for d in frozen] == ["NaN7", "-NaN"]
    assert [str(d) for d in pmalloc.thaw(frozen)] == ["NaN7", "-NaN"]
    with pytest.raises(pmalloc.UnfreezableError, match="it is a signalling NaN"):
        pmalloc.freeze([decimal.Decimal("sNaN")])

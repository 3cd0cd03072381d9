"""Instances of classes: what they become, and that they behave as instances of their class."""

import abc
import collections
import copy
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import gc
import ipaddress
import pathlib
import pickle
import re
import sys
import types
import typing
import uuid
import weakref
from typing import Any

import pytest

import pmalloc


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0
    tags: list[str] = dataclasses.field(default_factory=list)

    def norm(self) -> int:
        return self.x * self.x + self.y * self.y


@dataclasses.dataclass(frozen=True, order=True)
class Version:
    major: int
    minor: int


@dataclasses.dataclass(slots=True)
class Slim:
    name: str
    size: int = 7000


class Slots:
    __slots__ = ("a", "b", "unset")

    def __init__(self, a: object, b: object) -> None:
        self.a, self.b = a, b

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slots) and (self.a, self.b) == (other.a, other.b)

    def __hash__(self) -> int:
        return hash((self.a, self.b))


class Child(Slots):
    """With a __dict__ besides the slots of its base."""


class Plain:
    kind = "plain"

    def __init__(self, **attributes: object) -> None:
        self.__dict__.update(attributes)

    @property
    def shout(self) -> str:
        return self.name.upper()  # type: ignore[attr-defined]

    @functools.cached_property
    def costly(self) -> list[int]:
        return [1, 2, 3]


class Shape(abc.ABC):
    def __init__(self, side: int) -> None:
        self.side = side

    @abc.abstractmethod
    def area(self) -> int: ...


class Square(Shape):
    def area(self) -> int:
        return self.side**2


class Box[T]:
    def __init__(self, item: T) -> None:
        self.item = item


class Numbered(dict):
    def __init__(self, *args: object, number: int = 0) -> None:
        super().__init__(*args)
        self.number = number


class Tagged(list):
    pass


class Color(enum.Enum):
    RED = 1


Row = collections.namedtuple("Row", "id name")  # noqa: PYI024


class Pair(typing.NamedTuple):
    left: int
    right: str = "r"


class NamedWithDict(collections.namedtuple("Base", "a")):  # noqa: PYI024
    pass


def with_attributes(obj: Any, **attributes: object) -> Any:
    for name, value in attributes.items():
        setattr(obj, name, value)
    return obj


ZONE = dt.timezone(dt.timedelta(hours=5), "five")

INSTANCES: dict[str, Any] = {
    "dataclass": Point(70_000, 2, ["t"]),
    "frozen dataclass": Version(3, 70_000),
    "slots dataclass": Slim("slim"),
    "slots": Slots(70_000, [1]),
    "slots and dict": with_attributes(Child(1, 2), extra="e"),
    "plain": Plain(name="plain", size=70_000),
    "no attributes": Plain(),
    "many attributes": Plain(**{f"a{i}": i * 1000 for i in range(60)}),
    "abstract base": Square(70_000),
    "generic": Box("item"),
    "namespace": types.SimpleNamespace(a=70_000, b="x"),
    "empty namespace": types.SimpleNamespace(),
    "namedtuple": Row(70_000, "name"),
    "NamedTuple": Pair(70_000),
    "namedtuple with a dict": with_attributes(NamedWithDict(70_000), note="n"),
    "dict subclass": Numbered({"k": [70_000]}, number=70_000),
    "list subclass": with_attributes(Tagged([70_000, "x"]), tag="t"),
    "Counter": collections.Counter("hello"),
    "date": dt.date(2026, 11, 21),
    "time": dt.time(1, 2, 3, 4, fold=1),
    "time with a zone": dt.time(1, 2, tzinfo=ZONE),
    "datetime": dt.datetime(2026, 11, 21, 1, 2, 3, 4),  # noqa: DTZ001
    "datetime with a zone": dt.datetime(2026, 11, 21, fold=1, tzinfo=ZONE),
    "timedelta": dt.timedelta(-70_000, 5, 6),
    "Decimal": decimal.Decimal("-1.250"),
    "long Decimal": decimal.Decimal("7" * 500 + "e-90"),
    "infinite Decimal": decimal.Decimal("-Infinity"),
    "Fraction": fractions.Fraction(70_000, 3),
    "UUID": uuid.UUID(int=1 << 100),
    "IPv4Address": ipaddress.ip_address("10.1.2.3"),
    "IPv6Network": ipaddress.ip_network("2001:db8::/32"),
    "IPv4Interface": ipaddress.ip_interface("10.1.2.3/8"),
    "mappingproxy": types.MappingProxyType({"k": [70_000]}),
}
FROZEN: dict[str, Any] = pmalloc.freeze(INSTANCES, name="instances")
# classes without an __eq__ of their own
BY_IDENTITY = {"slots and dict", "plain", "no attributes", "many attributes", "abstract base"}
BY_IDENTITY |= {"generic"}

each = pytest.mark.parametrize("name", INSTANCES)


def content(obj: Any) -> object:
    """What is in an instance, to compare those that have no == of their own."""
    return getattr(obj, "__dict__", None), [
        getattr(obj, slot, "unset")
        for cls in obj.__class__.__mro__
        for slot in cls.__dict__.get("__slots__", ())
    ]


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


@pytest.mark.parametrize(
    "name",
    [n for n in INSTANCES if hasattr(INSTANCES[n], "__dict__") or "slots" in n],
)
def test_attributes_cannot_be_set(name: str):
    frozen = FROZEN[name]
    expected = (
        dataclasses.FrozenInstanceError
        if dataclasses.is_dataclass(INSTANCES[name])
        else AttributeError
    )
    kind = type(INSTANCES[name]).__name__
    with pytest.raises(expected) as caught:
        frozen.a = 1
    assert str(caught.value) == (
        f"cannot set attribute 'a': '{kind}' object is frozen in pool 'instances'"
    )
    with pytest.raises(expected, match=r"^cannot delete attribute 'b': '"):
        del frozen.b
    with pytest.raises(expected, match="'__class__'"):
        frozen.__class__ = Plain
    if hasattr(frozen, "__dict__"):
        with pytest.raises(expected, match="'__dict__'"):
            frozen.__dict__ = {}
        with pytest.raises(TypeError, match="does not support item assignment"):
            frozen.__dict__["a"] = 1
        assert isinstance(vars(frozen), pmalloc.FrozenDict)


def test_refusing_is_for_subclasses_of_dict_and_list_too():
    numbered, tagged = FROZEN["dict subclass"], FROZEN["list subclass"]
    for call in (
        lambda: numbered.update(a=1),
        lambda: numbered.__setitem__("a", 1),
        lambda: numbered.pop("k"),
        lambda: numbered.setdefault("q", 1),
        lambda: numbered.clear(),
        lambda: numbered.__init__(),
        lambda: FROZEN["Counter"].update("x"),
        lambda: tagged.append(1),
        lambda: tagged.sort(),
        lambda: tagged.__setitem__(0, 1),
        lambda: tagged.__iadd__([1]),
    ):
        with pytest.raises(TypeError, match=r"object is frozen: .* would change it"):
            call()
    assert FROZEN["Counter"]["missing"] == 0
    assert FROZEN["Counter"].most_common(1) == [("l", 2)]
    assert numbered["k"] == [70_000]


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


class Stores:
    kept: typing.ClassVar[list[object]] = []

    def __hash__(self) -> int:
        self.kept.append(self)
        if len(self.kept) > 1:
            raise RuntimeError("no hash now")
        return 1


def test_a_hash_that_keeps_the_object_and_raises():
    source = {Stores(): [1, 2]}
    Stores.kept.clear()
    source = {Stores(): ["kept", 70_000]}
    with pmalloc.Pool("hash") as pool:
        with pytest.raises(RuntimeError, match="no hash now"):
            pool.freeze(source)
        kept = Stores.kept[-1]
        assert type(kept) is not Stores
        assert pool.freeze(["still open"]) == ["still open"]
    assert isinstance(kept, Stores)
    Stores.kept.clear()


class BadZone(dt.tzinfo):
    def utcoffset(self, _when: object) -> dt.timedelta:
        raise RuntimeError("no offset")


def test_a_zone_that_raises():
    with pytest.raises(RuntimeError, match="no offset"):
        pmalloc.freeze([dt.datetime(2026, 1, 1, tzinfo=BadZone())])


@pytest.mark.parametrize(
    ("source", "path"),
    [
        (Plain(a=1, bad=iter(())), ".bad"),
        (Slots(1, [iter(())]), ".b[0]"),
        (Numbered({"k": iter(())}), "['k']"),
        (with_attributes(Tagged([0, iter(())]), x=1), "[1]"),
        (with_attributes(Tagged([0]), x=iter(())), ".__dict__['x']"),
        (types.SimpleNamespace(ns=[iter(())]), ".__dict__['ns'][0]"),
        (types.MappingProxyType({"p": iter(())}), "['p']"),
        (Point(1, 2, [Point(3, iter(()))]), ".tags[0].y"),  # type: ignore[arg-type, list-item]
        (Row(1, iter(())), "[1]"),
        ([Plain(**{f"a{i}": i for i in range(40)}, bad=iter(()))], "[0].__dict__['bad']"),
    ],
    ids=str,
)
def test_path(source: object, path: str):
    with pytest.raises(pmalloc.UnfreezableError) as caught:
        pmalloc.freeze(source)
    if sys.version_info[:2] != (3, 13):  # there a list's attributes are not in the instance
        path = path.replace(".__dict__['x']", ".x")
    assert caught.value.path == path

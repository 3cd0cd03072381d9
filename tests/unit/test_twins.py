"""What methods of frozen instances make: instances of the class, not of its twin."""

import copy
import dataclasses
import pickle
import types
from fractions import Fraction
from typing import Any

import pytest
from child import in_child

import pmalloc


class Slotted:
    __slots__ = ("me", "x")

    def __init__(self, x):
        self.x = x

    @classmethod
    def raw(cls, x):
        made = object.__new__(cls)
        made.x = x
        return made

    def like_this(self, x):
        made = object.__new__(type(self))
        made.x = x
        return made

    def another(self, x):
        return type(self)(x)


class Open(Slotted):
    """With a __dict__ besides."""


class WithDict:
    def like_this(self):
        return object.__new__(type(self))


@dataclasses.dataclass
class Node:
    parent: object = None
    children: list[object] = dataclasses.field(default_factory=list)


@pytest.mark.parametrize("cls", [Slotted, Open])
def test_class_methods_and_calls_make_ordinary_instances(cls: type, name: str):
    frozen = pmalloc.freeze(cls(1000), name=name)
    for made in (frozen.raw(2000), frozen.another(2000), type(frozen).raw(2000)):
        assert type(made) is cls
        made.x += 1
        assert made.x == 2001


def test_comparing_a_fraction_with_a_float(name: str):
    """Fraction.from_float() is a class method that says super().__new__(cls)."""
    half = pmalloc.freeze([Fraction(1, 2)], name=name)[0]
    assert half == 0.5
    assert half < 0.75
    assert type(half.from_float(0.25)) is Fraction


def test_an_instance_that_object_new_made(name: str):
    """Its type is the twin, but it is no frozen one: it can be changed, copied and frozen."""
    frozen = pmalloc.freeze(Slotted(1000), name=name)
    made = frozen.like_this(2000)
    made.x += 1
    assert (made.x, frozen.x) == (2001, 1000)
    assert not pmalloc.is_protected(made)
    assert made.__class__ is Slotted
    for copied in (
        copy.copy(made),
        copy.deepcopy(made),
        pickle.loads(pickle.dumps(made)),
        pmalloc.thaw([made])[0],
    ):
        assert type(copied) is Slotted
        assert copied.x == 2001
    del made.x
    with pytest.raises(AttributeError):
        _ = made.x
    made.x = 5

    def freeze_it() -> None:
        again = pmalloc.freeze(made)
        assert pmalloc.is_protected(again)
        assert type(again) is type(frozen)
        assert again.x == 5

    in_child(freeze_it)


def test_with_a_dict_object_new_is_refused(name: str):
    frozen = pmalloc.freeze(WithDict(), name=name)
    with pytest.raises(TypeError, match=r"not safe|cannot create"):
        frozen.like_this()


def test_cycles_through_the_root_pickle_whole(name: str):
    root = Node()
    root.children.append(Node(parent=root))
    slotted = Slotted(1)
    slotted.me = slotted
    frozen = pmalloc.freeze([root, slotted], name=name)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        loaded = pickle.loads(pickle.dumps(frozen[0], protocol))
        assert type(loaded) is Node
        assert loaded.children[0].parent is loaded
        loaded = pickle.loads(pickle.dumps(frozen[1], protocol))
        assert loaded.me is loaded


def test_a_namespace_prints_as_one(name: str):
    namespace = types.SimpleNamespace(x=1, y=types.SimpleNamespace())
    frozen = pmalloc.freeze(namespace, name=name)
    assert repr(frozen) == repr(namespace) == "namespace(x=1, y=namespace())"


def test_structs(name: str):
    msgspec = pytest.importorskip("msgspec")

    class Tail(msgspec.Struct, frozen=True):
        x: int

        @classmethod
        def make(cls, x):
            return cls(x)

    class ByTail(msgspec.Struct, frozen=True):
        x: int

        def __eq__(self, other):
            return isinstance(other, ByTail) and self.x % 10 == other.x % 10

        def __hash__(self):
            return self.x % 10

    own, plain = pmalloc.freeze([ByTail(1001), Tail(5)], name=name)
    assert own == ByTail(1)
    assert own != ByTail(2)
    assert {ByTail(21): "found"}[own] == "found"
    assert hash(plain) == hash(Tail(5))
    assert {plain: 1}[Tail(5)] == 1
    assert type(plain.make(6)) is Tail


class Member:
    """Is in a frozenset that one of its attributes leads to."""

    def __init__(self) -> None:
        self.first = 70_000
        self.peers = frozenset([self])
        self.last = "last"


def test_thaw_keeps_the_order_of_attributes():
    thawed = pmalloc.thaw(pmalloc.freeze([Member()]))[0]
    assert list(vars(thawed)) == ["first", "peers", "last"]
    assert thawed.peers == {thawed}


@pytest.mark.parametrize("wide", [0, 10_000])
def test_classes_within_classes_that_are_met_late(wide: int, name: str):
    """Behind so many records freeze stops at the first class, looks around and begins anew."""
    classes = [type(f"Level{number}", (), {}) for number in range(12)]
    inner: Any = None
    for number, cls in enumerate(reversed(classes)):
        outer = cls()
        outer.inner = inner
        setattr(outer, f"only{number}", [number])
        inner = outer
    frozen = pmalloc.freeze({"wide": [[i] for i in range(wide)], "deep": [[inner]]}, name=name)
    at: Any = frozen["deep"][0][0]
    for number, cls in enumerate(classes):
        assert isinstance(at, cls)
        assert getattr(at, f"only{11 - number}") == [11 - number]
        at = at.inner
    assert at is None
    assert len(frozen["wide"]) == wide

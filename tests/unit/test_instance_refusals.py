"""Frozen instances refuse to change; what cannot be frozen is refused, with the path to it."""

import dataclasses
import datetime as dt
import sys
import types
import typing

import pytest
from instances import (
    FROZEN,
    INSTANCES,
    Numbered,
    Plain,
    Point,
    Row,
    Slots,
    Tagged,
    with_attributes,
)

import pmalloc


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

"""Classes of all sorts with an instance of each, and those instances frozen."""

import abc
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import ipaddress
import types
import typing
import uuid
from typing import Any

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


def content(obj: Any) -> object:
    """What is in an instance, to compare those that have no == of their own."""
    return getattr(obj, "__dict__", None), [
        getattr(obj, slot, "unset")
        for cls in obj.__class__.__mro__
        for slot in cls.__dict__.get("__slots__", ())
    ]

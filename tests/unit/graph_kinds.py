"""What the random graphs are made of besides the built-in kinds: classes, values, externals.

The classes lie in a module, so that pickle finds them. What may be a key and is told by its address
carries a `label`, which is the same in every copy.
"""

import abc
import collections
import datetime
import enum
import fractions
import ipaddress
import sys
import types
import uuid
import zoneinfo
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar

# ---- classes: made without arguments, filled later ------------------------------------------------

NAMES = ["x", "y", "z", "name", "größe", "_private", "__mangled", "a b", ""]
MANY = [f"attribute_{i}" for i in range(40)]
T = TypeVar("T")


class Plain:
    pass


class Unlike(Plain):
    """With attributes of the class's own, which those of an instance hide."""

    x = "of the class"
    y: Any = None

    @property
    def both(self) -> Any:
        return self.x, self.y


class Slots:
    __slots__ = ("x", "y", "z")


class MoreSlots(Slots):
    __slots__ = ("_private", "label", "name")


class SlotsAndDict(Slots):
    pass


class DictSlot:
    __slots__ = ("__dict__", "x")


class WeakSlots:
    __slots__ = ("__weakref__", "x", "y")


class Mixed(Plain):
    __slots__ = ("z",)


class Wide(Slots, Generic[T]):
    """More attributes than a table of shared keys takes."""


class Abstract(abc.ABC):
    @abc.abstractmethod
    def method(self) -> int: ...


class Concrete(Abstract):
    def method(self) -> int:
        return 1


class Guarded:
    """Setting an attribute is its own affair, and so is what is missing."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError("not this way")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


@dataclass
class Data:
    x: Any = None
    y: Any = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class FrozenData:
    x: Any = None


@dataclass(slots=True)
class SlotsData:
    x: Any = None
    name: str = "default"


@dataclass
class DerivedData(Data):
    z: Any = 0


class DictWithAttributes(dict[Any, Any]):
    pass


class DictWithSlots(dict[Any, Any]):
    __slots__ = ("x",)


class ListWithAttributes(list[Any]):
    pass


class ListWithSlots(list[Any]):
    __slots__ = ("x", "y")


class TupleWithAttributes(tuple[Any, ...]):
    pass


class TupleWithoutAttributes(tuple[Any, ...]):
    __slots__ = ()


class Pair(NamedTuple):
    left: Any
    right: Any = None

    def swapped(self) -> "Pair":
        return Pair(self.right, self.left)


class Proud(Pair):
    """A namedtuple with a __dict__."""


Triple = collections.namedtuple("Triple", "x y z")

# ---- classes whose instances may be keys -------------------------------------------------------------


class ByAddress:
    """Equal to itself alone."""


class ByAddressSlots:
    __slots__ = ("label", "x")


class ByLabel:
    """Hashed and compared by Python code."""

    def __init__(self, label: Any):
        self.label = label

    def __hash__(self) -> int:
        return hash(("ByLabel", self.label))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByLabel) and self.label == other.label


@dataclass(frozen=True)
class KeyData:
    label: Any


@dataclass(frozen=True, slots=True, order=True)
class SlotsKeyData:
    label: Any


HASHED_BY_CODE: list[type] = [ByLabel, KeyData, SlotsKeyData]
HASHED_BY_ADDRESS: list[type] = [ByAddress, ByAddressSlots]
FILLED: list[type] = [
    *(Plain, Unlike, Slots, MoreSlots, SlotsAndDict, DictSlot, WeakSlots, Mixed, Wide, Concrete),
    *(Guarded, Data, FrozenData, SlotsData, DerivedData, types.SimpleNamespace),
    *(DictWithAttributes, DictWithSlots, ListWithAttributes, ListWithSlots, collections.Counter),
    *(collections.OrderedDict, collections.defaultdict),
    *HASHED_BY_ADDRESS,
]
TUPLES: list[type] = [TupleWithAttributes, TupleWithoutAttributes, Pair, Proud, Triple]

# ---- values, and what stays outside -------------------------------------------------------------------


class Colour(enum.Enum):
    RED = 1
    GREEN = ("a", "tuple")


class Bits(enum.IntFlag):
    ONE = 1
    TWO = 2


def function() -> None:
    """Stays outside."""


ZONES = [
    *(None, datetime.UTC, datetime.timezone(datetime.timedelta(hours=-3.5), "name")),
    zoneinfo.ZoneInfo("UTC"),
]
VALUES: list[Any] = [
    *(datetime.date(1, 1, 1), datetime.date.max, datetime.timedelta(-7, 3, 999_999)),
    *(datetime.time(23, 59, 59, 999_999, tzinfo=zone, fold=1) for zone in ZONES),
    *(datetime.datetime(2018, 4, 23, 12, 30, 1, 7, tzinfo=zone, fold=1) for zone in ZONES),
    *(Decimal(text) for text in ("0", "-0", "1.50", "-1E+999999", "Infinity", "-Infinity")),
    *(Decimal("9" * 3000), Decimal("-1." + "123456789" * 9), Decimal(2**64)),
    *(fractions.Fraction(-1, 3), fractions.Fraction(3**99, 2**70)),
    *(uuid.UUID(int=7), uuid.UUID(int=2**128 - 1)),
    *(ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("fe80::1%eth0")),
    *(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_interface("10.1.2.3/8")),
]
EXTERNALS: list[Any] = [
    *(Colour.RED, Colour.GREEN, Bits.ONE | Bits.TWO, function, len, Plain, int, ...),
    datetime.UTC,
]
NO_NUMBERS = ["NaN", "-NaN"]  # Decimals; with a payload they are told apart
FROZENDICT: Any = getattr(sys.modules["builtins"], "frozendict", None)

_VALUE_TYPES = (
    *(datetime.date, datetime.time, datetime.timedelta, Decimal, fractions.Fraction, uuid.UUID),
    *(ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, bytes, bytearray),
)
_EXTERNAL_TYPES = (
    *(enum.Enum, types.FunctionType, types.BuiltinFunctionType, type, types.ModuleType),
    *(types.EllipsisType, datetime.tzinfo),
)
_PLAIN_TYPES = (
    *(type(None), bool, int, float, complex, str, range, list, dict, tuple, set, frozenset),
    *(collections.OrderedDict, collections.defaultdict),
)


def is_external(value: Any) -> bool:
    return isinstance(value, _EXTERNAL_TYPES)


def is_value(value: Any) -> bool:
    return isinstance(value, _VALUE_TYPES)


def is_instance(value: Any) -> bool:
    """Whether it may have attributes: of a class that is neither built in nor a value's."""
    return not (
        value.__class__ in _PLAIN_TYPES
        or isinstance(value, (*_VALUE_TYPES, *_EXTERNAL_TYPES, types.MappingProxyType))
        or type(value).__module__ == "pmalloc"
        or value.__class__ is FROZENDICT
    )


def is_mapping(value: Any) -> bool:
    kinds = (dict, types.MappingProxyType)
    return isinstance(value, kinds if FROZENDICT is None else (*kinds, FROZENDICT))


def state(value: Any) -> list[tuple[Any, Any]]:
    """The attributes of an instance: slots by their classes, then __dict__ in its order."""
    if not is_instance(value):
        return []
    found: list[tuple[Any, Any]] = []
    for cls in reversed(value.__class__.__mro__):
        for name, slot in vars(cls).items():
            if isinstance(slot, types.MemberDescriptorType) and name != "__dict__":
                try:
                    found.append(((cls.__name__, name), slot.__get__(value)))
                except AttributeError:
                    continue
    # Asked for the way attributes are, past the class's own __getattr__ and __setattr__.
    if value.__class__.__dictoffset__ or isinstance(value, types.SimpleNamespace):
        found += object.__getattribute__(value, "__dict__").items()
    return found

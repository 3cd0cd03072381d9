"""What stays outside of the pool, read by way of frozen data: Enum members, functions, classes,
compiled patterns, paths, zones."""

import calendar
import copy
import dataclasses
import enum
import functools
import json
import math
import operator
import pathlib
import pickle
import re
import types
from datetime import UTC, datetime, timedelta, timezone

from .families import Family


class Color(enum.Enum):
    RED = 1
    GREEN = "green"

    @property
    def title(self):
        return self.name.title()


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2000


class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Word(enum.StrEnum):
    YES = "yes"


class Handler:
    count = 5

    def __init__(self, name="handler"):
        self.name = name

    def run(self):
        return self.name

    @classmethod
    def kind(cls):
        return cls.count


@dataclasses.dataclass
class Rule:
    color: Color
    match: re.Pattern
    call: object


def double(x):
    return x * 2


CACHED = functools.cache(double)


def make():
    return {
        "one": Color.RED,
        "members": [Color.RED, Level.HIGH, Access.READ | Access.WRITE, Word.YES],
        "by_member": {Color.RED: "red", Level.HIGH: "high", Word.YES: "yes"},
        "set": frozenset([Color.GREEN, Level.LOW]),
        "calls": [double, len, math.floor, str.upper],
        "classes": {"handler": Handler, "int": int, "rule": Rule},
        "modules": (math, json),
        "patterns": [re.compile(r"(\w+)@(?P<host>\w+)"), re.compile(rb"\d+")],
        "paths": [pathlib.PurePosixPath("/srv/data/x.csv"), pathlib.Path("relative")],
        "zones": {"utc": UTC, "two": timezone(timedelta(hours=2))},
        "rule": Rule(Color.GREEN, re.compile("a+"), double),
        "when": datetime(2026, 1, 1, tzinfo=UTC),
        "types": (list[int], int | str, Ellipsis, NotImplemented),
    }


family = Family("externals", make)
family.reads(
    member_is_itself=lambda d: (d.one is Color.RED, d.rule.color is Color.GREEN),
    member_name=lambda d: (d.one.name, d.members[1].name),
    member_value=lambda d: (d.one.value, d.members[1].value, d.members[3].value),
    member_property=lambda d: d.one.title,
    member_text=lambda d: (repr(d.one), str(d.members[3]), f"{d.members[1]}"),
    member_equality=lambda d: (d.one == Color.RED, d.one != Color.GREEN, d.members[1] == 2000),
    member_order=lambda d: (d.members[1] > Level.LOW, d.members[1] < 5000),
    member_hash=lambda d: hash(d.one) == hash(Color.RED),
    member_as_key=lambda d: (d.by_member[Color.RED], d.by_member[2000], d.by_member["yes"]),
    member_in_set=lambda d: (Color.GREEN in d.set, 1 in d.set, d.one in d.set),
    member_arithmetic=lambda d: (d.members[1] + 1, d.members[3] + "!", d.members[3].upper()),
    flags=lambda d: (Access.READ in d.members[2], d.members[2] & Access.WRITE, bool(d.members[2])),
    member_lookup=lambda d: (Color(d.one.value) is d.one, Color[d.one.name] is d.one),
    member_class=lambda d: (d.one.__class__, isinstance(d.members[1], int)),
    function=lambda d: d.calls[0](21),
    builtin=lambda d: (d.calls[1]("abc"), d.calls[2](2.5), d.calls[3]("x")),
    function_attributes=lambda d: (d.calls[0].__name__, d.calls[0].__module__, d.calls[1].__name__),
    function_is_itself=lambda d: d.calls[0] is double,
    mapped=lambda d: list(map(d.calls[0], [1, 2])),
    class_is_itself=lambda d: d.classes["handler"] is Handler,
    class_called=lambda d: d.classes["handler"]("new").run(),
    class_attribute=lambda d: (d.classes["handler"].count, d.classes["handler"].kind()),
    class_converts=lambda d: d.classes["int"]("42"),
    isinstance_of=lambda d: (isinstance(5, d.classes["int"]), issubclass(bool, d.classes["int"])),
    module_attribute=lambda d: (d.modules[0].pi, d.modules[0].sqrt(4), d.modules[1].dumps(1)),
    pattern_search=lambda d: d.patterns[0].search("me@home").group("host"),
    pattern_groups=lambda d: d.patterns[0].fullmatch("a@b").groups(),
    pattern_bytes=lambda d: d.patterns[1].findall(b"1 22 333"),
    pattern_sub=lambda d: d.rule.match.sub("b", "caat"),
    pattern_attributes=lambda d: (d.patterns[0].pattern, d.patterns[0].groupindex["host"]),
    pattern_equality=lambda d: d.patterns[0] == re.compile(r"(\w+)@(?P<host>\w+)"),
    path_parts=lambda d: (d.paths[0].name, d.paths[0].suffix, d.paths[0].parts),
    path_parent=lambda d: (d.paths[0].parent, d.paths[1].is_absolute()),
    path_joined=lambda d: (d.paths[0] / "y", d.paths[1].joinpath("a", "b")),
    path_text=lambda d: (str(d.paths[0]), repr(d.paths[1]), d.paths[0].as_posix()),
    path_hash=lambda d: (hash(d.paths[0]), d.paths[0] == pathlib.PurePosixPath("/srv/data/x.csv")),
    path_order=lambda d: d.paths[0] < pathlib.PurePosixPath("/zzz"),
    zone=lambda d: (d.zones["utc"] is UTC, d.when.tzinfo is UTC),
    zone_offset=lambda d: (d.zones["two"].utcoffset(None), d.zones["utc"].tzname(None)),
    zone_used=lambda d: d.when.astimezone(d.zones["two"]).hour,
    types_of_types=lambda d: (d.types[0].__origin__, d.types[1].__args__, d.types[2] is ...),
    rule_called=lambda d: d.rule.call(4),
    rule_replaced=lambda d: dataclasses.replace(d.rule, color=Color.RED).color,
    rule_equality=lambda d: d.rule == Rule(Color.GREEN, re.compile("a+"), double),
    attributes=lambda d: operator.attrgetter("color.name", "match.pattern")(d.rule),
    cached_call=lambda d: (CACHED(d.one.value), CACHED(d.members[1])),
    bound=lambda d: types.MethodType(d.calls[0], 4)(),
    month=lambda d: calendar.month_name[d.when.month],
    copied=lambda d: (copy.copy(d.one) is d.one, copy.copy(d.patterns[0]) is d.patterns[0]),
)
family.heavy(
    deeply_copied=lambda d: copy.deepcopy(d.rule) == d.rule,
    pickled=lambda d: pickle.loads(pickle.dumps(d.rule)) == d.rule,
    members_pickled=lambda d: pickle.loads(pickle.dumps(d.members)),
)


@family.read
def matched_member(d):
    match d.rule:
        case Rule(color=Color.RED):
            return "red"
        case Rule(color=Color.GREEN, call=call):
            return call(1)
    return None


@family.read
def changed_outside(d):
    """What stays outside can be changed, and everyone who looks sees it."""
    d.classes["handler"].count = 6
    seen = d.classes["handler"].count
    d.classes["handler"].count = 5
    return seen, d.classes["handler"].count

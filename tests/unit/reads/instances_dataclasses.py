"""Dataclasses of all makes."""

import copy
import dataclasses
import functools
import operator
import pickle
import sys
import typing
from dataclasses import dataclass, field

from .families import Family, instances


@dataclass
class Plain:
    """A plain one."""

    name: str
    size: int = 5
    tags: list[str] = field(default_factory=list)
    kind: typing.ClassVar[str] = "plain"

    def double(self):
        return self.size * 2

    @property
    def title(self):
        return self.name.title()

    @classmethod
    def make(cls):
        return cls.kind

    @functools.cached_property
    def letters(self):
        return list(self.name)


@dataclass(order=True)
class Child(Plain):
    extra: tuple[int, ...] = (1, 2000)
    hidden: int = field(default=70_000, repr=False, compare=False)

    def double(self):
        return super().double() + self.extra[1]


@dataclass(slots=True)
class Slotted:
    name: str
    size: int
    next: "Slotted | None" = None

    def double(self):
        return self.size * 2


@dataclass(frozen=True)
class Fixed:
    name: str
    size: int

    def __post_init__(self):
        object.__setattr__(self, "sum", len(self.name) + self.size)


@dataclass(slots=True, frozen=True, order=True)
class Both:
    name: str
    size: int


@dataclass(kw_only=True, unsafe_hash=True)
class Keyword:
    name: str
    size: int = 3


def make():
    loop = Slotted("loop", 600)
    loop.next = loop
    fixed, both = Fixed("fixed", 700), Both("both", 800)
    return {
        "one": Child("wörd", 1000, ["a", "b"]),
        "equal": Child("wörd", 1000, ["a", "b"]),
        "other": Child("zoo", 3000, ["c"]),
        "plain": Plain("plain", 400),
        "slotted": Slotted("slotted", 500, Slotted("next", 501)),
        "loop": loop,
        "fixed": fixed,
        "both": both,
        "keyword": Keyword(name="keyword", size=900),
        "keys": {fixed: 1, both: 2},
        "members": {fixed, both},
        "several": [Both("b", 2), Both("a", 1), Both("a", 0)],
        "nested": Plain("outer", 1, [Plain("inner", 2)]),
    }


def state(o):
    return o.name, o.size, list(o.tags), o.extra, o.hidden


family = Family("dataclasses", make)
instances(family, Child, state, "size")
read = family.read

family.reads(
    attribute=lambda d: d.plain.name,
    attributes=lambda d: (d.one.name, d.one.size, d.one.tags[0], d.one.extra[1], d.one.hidden),
    attribute_slotted=lambda d: (d.slotted.name, d.slotted.next.size),
    attribute_frozen=lambda d: (d.fixed.name, d.fixed.sum),
    attribute_both=lambda d: (d.both.name, d.both.size),
    attribute_keyword=lambda d: d.keyword.size,
    class_variable=lambda d: (d.one.kind, d.plain.kind),
    cycle=lambda d: d.loop.next.next.next.size,
    method=lambda d: (d.plain.double(), d.slotted.double()),
    super_call=lambda d: d.one.double(),
    prop=lambda d: d.one.title,
    class_method=lambda d: d.plain.make(),
    cached_property_recomputed=lambda d: d.plain.letters,
    is_dataclass=lambda d: (dataclasses.is_dataclass(d.one), dataclasses.is_dataclass(d.both)),
    fields_of=lambda d: [f.name for f in dataclasses.fields(d.one)],
    fields_of_slotted=lambda d: [f.name for f in dataclasses.fields(d.slotted)],
    params=lambda d: d.fixed.__dataclass_params__.frozen,
    match_args=lambda d: d.one.__match_args__,
    variables=lambda d: dict(vars(d.plain)),
    variables_of_frozen=lambda d: list(vars(d.fixed).items()),
    no_dict=lambda d: (hasattr(d.slotted, "__dict__"), hasattr(d.both, "__dict__")),
    equality=lambda d: (d.one == d.equal, d.equal == d.one, d.one != d.equal, d.one == d.other),
    equality_with_plain=lambda d: (
        d.plain == Plain("plain", 400),
        Plain("plain", 400) == d.plain,
        d.both == Both("both", 800),
        Both("both", 801) == d.both,
        d.slotted == Slotted("slotted", 500, Slotted("next", 501)),
        Keyword(name="keyword", size=900) == d.keyword,
    ),
    order=lambda d: (d.one < d.other, d.one >= d.equal, d.other > d.one),
    order_with_plain=lambda d: (d.both < Both("c", 1), Both("c", 1) > d.both, d.both <= d.both),
    sorted_ones=lambda d: [(b.name, b.size) for b in sorted(d.several)],
    hashed=lambda d: (hash(d.fixed) == hash(Fixed("fixed", 700)), hash(d.both) == hash(d.both)),
    hashed_unsafely=lambda d: hash(d.keyword) == hash(("keyword", 900)),
    as_key=lambda d: (d.keys[d.fixed], d.keys[Fixed("fixed", 700)], d.keys[d.both]),
    as_member=lambda d: (d.fixed in d.members, Both("both", 800) in d.members),
    represented=lambda d: (repr(d.one), str(d.slotted), f"{d.both}"),
    represented_cycle=lambda d: repr(d.loop),
    represented_nested=lambda d: repr(d.nested),
    replaced=lambda d: dataclasses.replace(d.one, size=1).size + d.one.size,
    replaced_slotted=lambda d: dataclasses.replace(d.slotted, name="new").name,
    replaced_frozen=lambda d: dataclasses.replace(d.fixed, size=1),
    replaced_both=lambda d: dataclasses.replace(d.both, size=1) == Both("both", 1),
    several=lambda d: operator.attrgetter("next.size", "name")(d.slotted),
    largest=lambda d: max(d.several).name,
    init_by_vars=lambda d: Plain(**vars(d.plain)) == d.plain,
)
if sys.version_info >= (3, 13):
    family.reads(copy_replace=lambda d: copy.replace(d.both, name="new"))

family.heavy(
    asdict=lambda d: dataclasses.asdict(d.one),
    asdict_slotted=lambda d: dataclasses.asdict(d.slotted),
    asdict_nested=lambda d: dataclasses.asdict(d.nested),
    astuple=lambda d: dataclasses.astuple(d.one),
    astuple_both=lambda d: dataclasses.astuple(d.both),
    slotted_pickled=lambda d: pickle.loads(pickle.dumps(d.slotted)),
    frozen_pickled=lambda d: pickle.loads(pickle.dumps((d.fixed, d.both))),
    slotted_copied=lambda d: (copy.copy(d.slotted), copy.deepcopy(d.slotted)),
    frozen_copied=lambda d: (copy.copy(d.fixed), copy.deepcopy(d.both)),
    loop_copied=lambda d: (lambda o: o.next is o)(copy.deepcopy(d.loop)),
)


@read
def matched(d):
    match d.one:
        case Child(name, 1000, tags=[first, *_]):
            return name, first
    return None


@read
def matched_slotted(d):
    match d.slotted:
        case Slotted(name=n, next=Slotted(m, 501)):
            return n, m
    return None


@read
def attribute_loop(d):
    total = 0
    for o in (d.plain, d.one, d.plain, d.one):
        total += o.size
    return total


@read
def copy_is_changed(d):
    copied = copy.copy(d.plain)
    copied.size += 1
    copied.name = "changed"
    return copied, d.plain.size, d.plain.name

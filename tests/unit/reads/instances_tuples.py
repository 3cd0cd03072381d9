"""namedtuple and typing.NamedTuple; a subclass of one with attributes of its own."""
# Every way to spell a reading is wanted here, the old ones too.
# ruff: noqa: C416, FURB192, PYI024, RUF005, UP031

import collections
import csv
import io
import operator
import sys
import typing

from .families import Family, instances

Point = collections.namedtuple("Point", ["x", "y"], defaults=[5])


class Person(typing.NamedTuple):
    """A person."""

    name: str
    age: int = 70_000
    tags: tuple[str, ...] = ()

    @property
    def title(self):
        return self.name.title()

    def older(self):
        return self.age + 1

    @classmethod
    def kind(cls):
        return "kind"


class Pair[T](typing.NamedTuple):
    left: T
    right: T


class Named(Point):
    """With a __dict__."""

    def total(self):
        return self.x + self.y


class Bare(Point):
    __slots__ = ()

    def total(self):
        return self.x * self.y


def make():
    named = Named(300, 400)
    named.label = "named"
    return {
        "one": Person("wörd", 1000, ("a", "b")),
        "equal": Person("wörd", 1000, ("a", "b")),
        "other": Person("zoo", 3000),
        "point": Point(500, 600),
        "lists": Point([1], {"k": 2}),
        "pair": Pair("left", "right"),
        "named": named,
        "bare": Bare(20, 30),
        "keys": {Person("wörd", 1000, ("a", "b")): 1, Point(5, 6): 2},
        "members": {Point(5, 6), (7, 8)},
        "several": [Point(3, 1), Point(1, 2), Point(2, 0)],
    }


def state(o):
    return o.name, o.age, o.tags


family = Family("named tuples", make)
instances(family, Person, state, "age")
read = family.read

family.reads(
    attribute=lambda d: d.one.name,
    attributes=lambda d: (d.one.age, d.one.tags[0], d.point.x, d.pair.right),
    exact_type=lambda d: (type(d.one) is Person, type(d.point) is Point),
    item=lambda d: (d.one[0], d.one[-1], d.point[1]),
    slice_=lambda d: (d.one[1:], d.point[::-1]),
    unpacked=lambda d: (lambda name, age, tags: (age, name))(*d.one),
    iteration=lambda d: [item for item in d.one],
    length=lambda d: (len(d.one), len(d.point)),
    containment=lambda d: (1000 in d.one, 5 in d.point),
    count_and_index=lambda d: (d.point.count(500), d.point.index(600)),
    fields_of=lambda d: (d.one._fields, d.point._fields),
    field_defaults=lambda d: d.one._field_defaults,
    asdict=lambda d: d.one._asdict(),
    replaced=lambda d: (d.one._replace(age=1), d.point._replace(y=7)),
    made=lambda d: d.point._make([1, 2]),
    prop=lambda d: d.one.title,
    method=lambda d: d.one.older(),
    class_method=lambda d: d.one.kind(),
    mutable_items=lambda d: (d.lists.x[0], d.lists.y["k"]),
    equality=lambda d: (
        d.one == d.equal,
        d.one != d.equal,
        d.one == d.other,
        d.point == (500, 600),
    ),
    equality_from_the_left=lambda d: ((500, 600) == d.point, Point(500, 600) == d.point),
    order=lambda d: (d.one < d.other, d.point >= (500, 1), sorted(d.several)[0]),
    hashed=lambda d: (hash(d.one) == hash(("wörd", 1000, ("a", "b"))), hash(d.point)),
    as_key=lambda d: (d.keys[d.one], d.keys[(5, 6)], d.keys.get(d.point)),
    as_member=lambda d: ((5, 6) in d.members, d.point in d.members, Point(7, 8) in d.members),
    as_new_key=lambda d: {d.one: 1}[d.equal],
    concatenated=lambda d: (d.point + (1,), d.point * 2),
    represented=lambda d: (repr(d.one), str(d.point), f"{d.pair}", "%s:%s" % d.point),
    represented_lists=lambda d: repr(d.lists),
    largest=lambda d: (max(d.several), min(d.several), sum(d.point)),
    itemgetter=lambda d: operator.itemgetter(0, 1)(d.one),
    several_attributes=lambda d: operator.attrgetter("name", "age")(d.one),
    named_with_dict=lambda d: (d.named.label, d.named.total(), d.named.x, len(d.named)),
    named_variables=lambda d: dict(vars(d.named)),
    named_equality=lambda d: (d.named == (300, 400), hash(d.named) == hash((300, 400))),
    bare=lambda d: (d.bare.total(), type(d.bare) is Bare, d.bare.x),
    zipped=lambda d: list(zip(*d.several, strict=True)),
    as_tuple=lambda d: (tuple(d.one), list(d.point), {*d.point}),
    generic=lambda d: (d.pair.left, Pair[int](1, 2).right),
    isinstance_of_tuple=lambda d: isinstance(d.one, tuple),
)
if sys.version_info >= (3, 13):
    import copy

    family.reads(copy_replace=lambda d: copy.replace(d.one, name="new"))


@read
def matched(d):
    match d.one:
        case Person(name, 1000, tags=(first, *_)):
            return name, first
    return None


@read
def matched_as_sequence(d):
    match d.point:
        case (a, b):
            return a, b
    return None


@read
def loop(d):
    total = 0
    for x, y in d.several:
        total += x * y
    return total


@read
def written_as_csv(d):
    out = io.StringIO()
    csv.writer(out).writerows(d.several)
    return out.getvalue()

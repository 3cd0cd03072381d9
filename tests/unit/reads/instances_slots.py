"""Classes with __slots__."""
# Every way to spell a reading is wanted here, the old ones too.
# ruff: noqa: C416, FURB192, UP031

import abc
import functools
import operator
import pickle
import typing
from collections.abc import Hashable, Sized

from .families import Family, instances


class Shape(abc.ABC):
    __slots__ = ()

    @abc.abstractmethod
    def area(self): ...

    def describe(self):
        return f"{type(self).__name__} of {self.area()}"


class Point:
    """A point."""

    __slots__ = ("_secret", "label", "x", "y")
    dimensions = 2

    def __init__(self, x, y, label="point"):
        self.x = x
        self.y = y
        self.label = label

    @property
    def norm(self):
        return abs(self.x) + abs(self.y)

    @classmethod
    def origin(cls):
        return cls(0, 0).label

    @staticmethod
    def unit():
        return 1

    def moved(self, by):
        return Point(self.x + by, self.y + by)

    def __repr__(self):
        return f"Point({self.x}, {self.y})"


class Rectangle(Point, Shape):
    __slots__ = ("__private", "corners", "height", "me")
    __match_args__ = ("x", "y", "height")

    def __init__(self, x, y, height):
        super().__init__(x, y, "rectangle")
        self.height = height
        self.corners = [(x, y), (x + height, y)]
        self.me = self
        self.__private = 70_000

    def area(self):
        return self.height * self.height

    def private(self):
        return self.__private

    def moved(self, by):
        return super().moved(by).x + self.height

    def __getattr__(self, name):
        if name == "computed":
            return self.x + 1
        raise AttributeError(name)

    def __eq__(self, other):
        if not isinstance(other, Rectangle):
            return NotImplemented
        return (self.x, self.y, self.height) == (other.x, other.y, other.height)

    def __lt__(self, other):
        return self.height < other.height

    def __hash__(self):
        return hash((self.x, self.y, self.height))

    def __len__(self):
        return len(self.corners)

    def __iter__(self):
        return iter(self.corners)

    def __getitem__(self, index):
        return self.corners[index]

    def __contains__(self, item):
        return item in self.corners

    def __call__(self, factor):
        return self.height * factor

    def __format__(self, spec):
        return format(self.height, spec)

    def __add__(self, other):
        return self.height + other

    def __enter__(self):
        return self.label

    def __exit__(self, *_):
        return None


class Bounded[T]:
    __slots__ = ("value",)

    def __init__(self, value: T):
        self.value = value


def make():
    one = Rectangle(1000, 2, 3000)
    bare = Point.__new__(Point)
    bare.x = 5
    return {
        "one": one,
        "equal": Rectangle(1000, 2, 3000),
        "other": Rectangle(7, 8, 9),
        "again": [one, one],
        "point": Point(400, -500),
        "bare": bare,
        "bounded": Bounded[int]("Zürich"),
        "keys": {one: "by instance", "k": 1},
        "members": frozenset([one, Rectangle(7, 8, 9)]),
    }


def state(o):
    return o.x, o.y, o.label, o.height, list(o.corners), o.private()


family = Family("__slots__", make)
instances(family, Rectangle, state, "height", oldest=2)
read = family.read

family.reads(
    attribute=lambda d: d.one.x,
    inherited_attributes=lambda d: (d.one.label, d.one.x, d.point.y, d.one.height),
    class_variable=lambda d: (d.one.dimensions, d.point.dimensions),
    nested=lambda d: d.one.corners[1][0],
    cycle=lambda d: d.one.me.me.me.x,
    shared=lambda d: d.again[0] is d.again[1] is d.one,
    prop=lambda d: (d.point.norm, d.one.norm),
    class_method=lambda d: d.point.origin(),
    static_method=lambda d: (d.point.unit(), d.one.unit()),
    bound_method=lambda d: (lambda f: f())(d.one.area),
    method_of_abc=lambda d: d.one.describe(),
    super_call=lambda d: d.one.moved(11),
    method_that_makes_one=lambda d: repr(d.point.moved(1)),
    private_name=lambda d: d.one.private(),
    getattr_fallback=lambda d: (d.one.computed, hasattr(d.one, "nothing")),
    unset_slot=lambda d: (hasattr(d.bare, "y"), getattr(d.bare, "_secret", None), d.bare.x),
    descriptor=lambda d: Point.x.__get__(d.point),
    descriptor_of_subclass=lambda d: Rectangle.height.__get__(d.one, Rectangle),
    no_dict=lambda d: hasattr(d.point, "__dict__"),
    slots_walk=lambda d: [getattr(d.point, n, None) for n in Point.__slots__],
    equality=lambda d: (d.one == d.equal, d.one != d.equal, d.equal == d.one, d.one == d.other),
    order=lambda d: (d.one < d.other, d.one > d.other, sorted([d.one, d.other])[0].x),
    hashed=lambda d: hash(d.one) == hash(d.equal),
    as_key=lambda d: (d.keys[d.one], d.keys[d.equal], d.keys.get(d.other)),
    as_member=lambda d: (d.one in d.members, d.equal in d.members, d.point in d.members),
    new_set=lambda d: len({d.one, d.equal, d.other}),
    length=lambda d: (len(d.one), bool(d.one)),
    iteration=lambda d: [corner for corner in d.one],
    unpacked=lambda d: (lambda a, b: (a, b))(*d.one),
    item=lambda d: (d.one[0], d.one[-1]),
    containment=lambda d: ((1000, 2) in d.one, 5 in d.one),
    called=lambda d: d.one(3),
    formatted=lambda d: (f"{d.one:>8}", format(d.one, "x"), f"{d.point!r}"),
    represented=lambda d: (repr(d.point), str(d.one), "%s" % d.point),
    added=lambda d: d.one + 5,
    abstract=lambda d: (isinstance(d.one, Shape), isinstance(d.point, Shape)),
    protocols=lambda d: (isinstance(d.one, Sized), isinstance(d.one, Hashable)),
    generic=lambda d: (d.bounded.value, isinstance(d.bounded, Bounded)),
    generic_alias=lambda d: typing.get_origin(Bounded[int]) is d.bounded.__class__,
    several=lambda d: operator.attrgetter("x", "me.y")(d.one),
    partial=lambda d: functools.partial(Rectangle.area, d.one)(),
    method_caller=lambda d: operator.methodcaller("moved", 2)(d.one),
    largest=lambda d: max([d.one, d.other], key=operator.attrgetter("x")).x,
)


@read
def matched(d):
    match d.one:
        case Rectangle(x, 2, height=h):
            return x, h
    return None


@read
def matched_by_keyword(d):
    match d.point:
        case Rectangle():
            return 1
        case Point(x=400, y=y):
            return y
    return None


@read
def attribute_loop(d):
    one, total = d.one, 0
    for _ in range(8):
        total += one.x + one.height
    return total


@read
def as_context(d):
    with d.one as label:
        return label


@read
def copy_is_changed(d):
    copied = pickle.loads(pickle.dumps(d.point))
    copied.x += 1
    copied.label = "changed"
    return copied.x, d.point.x, d.point.label

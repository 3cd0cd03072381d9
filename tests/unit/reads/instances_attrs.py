"""Classes of attrs."""
# Every way to spell a reading is wanted here, the old ones too.
# ruff: noqa: C416

import copy
import operator
import pickle

import pytest

from .families import Family, instances

attrs = pytest.importorskip("attrs")


@attrs.define
class Slotted:
    """Slots, the default of attrs."""

    name: str
    size: int = attrs.field(default=5, validator=attrs.validators.instance_of(int))
    tags: list[str] = attrs.field(factory=list)

    def double(self):
        return self.size * 2

    @property
    def title(self):
        return self.name.title()

    @classmethod
    def kind(cls):
        return "kind"


@attrs.define(order=True)
class Child(Slotted):
    extra: tuple[int, ...] = (1, 2000)
    _private: int = 70_000

    def double(self):
        return super().double() + self.extra[1]


@attrs.frozen
class Fixed:
    name: str
    size: int


@attrs.define(slots=False)
class Open:
    name: str
    size: int
    me: object = attrs.field(default=None, repr=False, eq=False)


@attrs.define(kw_only=True, unsafe_hash=True)
class Keyword:
    name: str
    size: int = attrs.field(default=3, converter=int)


@attrs.define(slots=False, frozen=True)
class OpenFixed:
    name: str
    size: int


def make():
    loop = Open("open", 600)
    loop.me = loop
    fixed = Fixed("fixed", 700)
    keyword = Keyword(name="keyword", size="800")
    return {
        "one": Child("wörd", 1000, ["a", "b"]),
        "equal": Child("wörd", 1000, ["a", "b"]),
        "other": Child("zoo", 3000, ["c"]),
        "slotted": Slotted("slotted", 400),
        "loop": loop,
        "fixed": fixed,
        "keyword": keyword,
        "open_fixed": OpenFixed("both", 900),
        "keys": {fixed: 1, keyword: 2},
        "members": {fixed, keyword},
        "nested": Slotted("outer", 1, [Slotted("inner", 2)]),
    }


def state(o):
    return o.name, o.size, list(o.tags), o.extra, o._private


family = Family("attrs", make)
instances(family, Child, state, "size")
read = family.read

family.reads(
    attribute=lambda d: d.one.name,
    attributes=lambda d: (d.one.size, d.one.tags[0], d.one.extra[1], d.one._private),
    attribute_open=lambda d: (d.loop.name, d.loop.size),
    attribute_frozen=lambda d: (d.fixed.name, d.open_fixed.size),
    attribute_keyword=lambda d: d.keyword.size,
    cycle=lambda d: d.loop.me.me.me.size,
    nested=lambda d: d.nested.tags[0].name,
    method=lambda d: d.slotted.double(),
    super_call=lambda d: d.one.double(),
    prop=lambda d: d.one.title,
    class_method=lambda d: d.one.kind(),
    has=lambda d: (attrs.has(type(d.one)), attrs.has(d.fixed.__class__)),
    fields_of=lambda d: [a.name for a in attrs.fields(d.one.__class__)],
    fields_dict=lambda d: list(attrs.fields_dict(d.fixed.__class__)),
    attributes_tuple=lambda d: d.keyword.__attrs_attrs__[1].name,
    match_args=lambda d: d.one.__match_args__,
    variables=lambda d: [k for k in vars(d.loop)],
    variables_of_frozen=lambda d: dict(d.open_fixed.__dict__),
    no_dict=lambda d: (hasattr(d.slotted, "__dict__"), hasattr(d.fixed, "__dict__")),
    equality=lambda d: (d.one == d.equal, d.equal == d.one, d.one != d.equal, d.one == d.other),
    equality_with_plain=lambda d: (
        d.fixed == Fixed("fixed", 700),
        Fixed("fixed", 700) == d.fixed,
        d.open_fixed == OpenFixed("both", 900),
        OpenFixed("both", 901) == d.open_fixed,
        d.slotted == Slotted("slotted", 400),
        Slotted("slotted", 400) != d.slotted,
    ),
    order=lambda d: (d.one < d.other, d.one >= d.equal, d.other > d.one),
    order_with_plain=lambda d: (d.one < Child("zzz"), Child("zzz") > d.one),
    sorted_ones=lambda d: [o.name for o in sorted([d.other, d.one])],
    hashed=lambda d: (
        hash(d.fixed) == hash(Fixed("fixed", 700)),
        hash(d.keyword) == hash(d.keyword),
    ),
    as_key=lambda d: (d.keys[d.fixed], d.keys[Fixed("fixed", 700)], d.keys[d.keyword]),
    as_member=lambda d: (d.fixed in d.members, Keyword(name="keyword", size=800) in d.members),
    represented=lambda d: (repr(d.one), str(d.fixed), f"{d.open_fixed}"),
    represented_nested=lambda d: repr(d.nested),
    evolved=lambda d: attrs.evolve(d.one, size=1).size + d.one.size,
    evolved_frozen=lambda d: attrs.evolve(d.fixed, size=1),
    evolved_open=lambda d: attrs.evolve(d.open_fixed, name="new"),
    several=lambda d: operator.attrgetter("name", "extra")(d.one),
    validated=lambda d: attrs.validate(d.slotted),
)
family.heavy(
    asdict=lambda d: attrs.asdict(d.one),
    asdict_nested=lambda d: attrs.asdict(d.nested),
    astuple=lambda d: attrs.astuple(d.one),
    frozen_pickled=lambda d: pickle.loads(pickle.dumps((d.fixed, d.open_fixed))),
    frozen_copied=lambda d: (copy.copy(d.fixed), copy.deepcopy(d.open_fixed)),
    loop_copied=lambda d: (lambda o: o.me is o)(copy.deepcopy(d.loop)),
)


@read
def matched(d):
    match d.one:
        case Child(name, 1000, tags=[first, *_]):
            return name, first
    return None


@read
def matched_frozen(d):
    match d.fixed:
        case Fixed(size=700, name=n):
            return n
    return None


@read
def attribute_loop(d):
    total = 0
    for o in (d.slotted, d.one, d.loop):
        total += o.size
    return total


@read
def copy_is_changed(d):
    copied = copy.copy(d.slotted)
    copied.size += 1
    copied.name = "changed"
    return copied, d.slotted.size, d.slotted.name

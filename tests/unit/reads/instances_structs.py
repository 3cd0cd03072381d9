"""msgspec's Structs."""
# Every way to spell a reading is wanted here, the old ones too.
# ruff: noqa: RUF012

import copy
import operator
import pickle

import pytest

from .families import Family, instances

msgspec = pytest.importorskip("msgspec")


class Plain(msgspec.Struct):
    """A struct."""

    name: str
    size: int = 5
    tags: list[str] = []
    me: "Plain | None" = None

    def double(self):
        return self.size * 2

    @property
    def title(self):
        return self.name.title()

    @classmethod
    def kind(cls):
        return "kind"

    @staticmethod
    def version():
        return 3


class Child(Plain, order=True):
    extra: tuple[int, ...] = (1, 2000)

    def double(self):
        return super().double() + self.extra[1]


class Fixed(msgspec.Struct, frozen=True):
    name: str
    size: int


class Cached(msgspec.Struct, frozen=True, cache_hash=True):
    name: str
    size: int


class Keyword(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    long_name: str
    size: int = 3


class Tagged(msgspec.Struct, tag="tagged", array_like=True):
    name: str
    size: int


class Open(msgspec.Struct, dict=True):
    name: str


class Untracked(msgspec.Struct, gc=False):
    name: str
    size: int


def make():
    loop = Plain("loop", 600)
    loop.me = loop
    fixed, cached = Fixed("fixed", 700), Cached("cached", 800)
    hash(cached)
    opened = Open("open")
    opened.extra = 900
    return {
        "one": Child("wörd", 1000, ["a", "b"]),
        "equal": Child("wörd", 1000, ["a", "b"]),
        "other": Child("zoo", 3000, ["c"]),
        "plain": Plain("plain", 400, ["x"]),
        "loop": loop,
        "fixed": fixed,
        "cached": cached,
        "keyword": Keyword(long_name="keyword"),
        "tagged": Tagged("tagged", 1000),
        "opened": opened,
        "untracked": Untracked("untracked", 1100),
        "keys": {fixed: 1, cached: 2},
        "members": {fixed, cached},
    }


def state(o):
    return o.name, o.size, list(o.tags), o.extra, o.me


family = Family("structs", make)
instances(family, Child, state, "size")
read = family.read

family.reads(
    attribute=lambda d: d.one.name,
    attributes=lambda d: (d.one.size, d.one.tags[0], d.one.extra[1], d.plain.name),
    attribute_frozen=lambda d: (d.fixed.name, d.cached.size),
    attribute_renamed=lambda d: (d.keyword.long_name, d.keyword.size),
    attribute_open=lambda d: (d.opened.name, d.opened.extra),
    attribute_untracked=lambda d: d.untracked.size,
    cycle=lambda d: d.loop.me.me.me.size,
    method=lambda d: d.plain.double(),
    super_call=lambda d: d.one.double(),
    prop=lambda d: d.one.title,
    class_method=lambda d: d.one.kind(),
    static_method=lambda d: d.one.version(),
    struct_fields=lambda d: (d.one.__struct_fields__, d.keyword.__struct_encode_fields__),
    struct_config=lambda d: (
        d.fixed.__class__.__struct_config__.frozen,
        d.one.__struct_config__.order,
    ),
    match_args=lambda d: type(d.one).__match_args__,
    no_dict=lambda d: (hasattr(d.one, "__dict__"), hasattr(d.fixed, "__dict__")),
    variables=lambda d: dict(vars(d.opened)),
    equality=lambda d: (d.one == d.equal, d.equal == d.one, d.one != d.equal, d.one == d.other),
    equality_with_plain=lambda d: (
        d.fixed == Fixed("fixed", 700),
        Fixed("fixed", 700) == d.fixed,
        d.cached == Cached("cached", 800),
        Cached("cached", 801) == d.cached,
        Plain("plain", 400, ["x"]) == d.plain,
        d.untracked != Untracked("untracked", 1100),
    ),
    order=lambda d: (d.one < d.other, d.one >= d.equal, d.other > d.one, d.one <= d.other),
    order_with_plain=lambda d: (d.one < Child("zzz"), Child("zzz") > d.one),
    sorted_ones=lambda d: [o.name for o in sorted([d.other, d.one])],
    hashed=lambda d: hash(d.fixed) == hash(Fixed("fixed", 700)),
    hashed_cached=lambda d: hash(d.cached) == hash(Cached("cached", 800)) == hash(d.cached),
    as_key=lambda d: (d.keys[d.fixed], d.keys[Fixed("fixed", 700)], d.keys[d.cached]),
    as_member=lambda d: (d.fixed in d.members, Cached("cached", 800) in d.members),
    represented=lambda d: (repr(d.one), str(d.fixed), f"{d.keyword}"),
    represented_cycle=lambda d: repr(d.loop),
    replaced=lambda d: msgspec.structs.replace(d.one, size=1).size + d.one.size,
    replaced_frozen=lambda d: msgspec.structs.replace(d.fixed, size=1) == Fixed("fixed", 1),
    asdict=lambda d: msgspec.structs.asdict(d.plain),
    astuple=lambda d: msgspec.structs.astuple(d.one),
    to_builtins=lambda d: msgspec.to_builtins(d.fixed),
    encoded=lambda d: msgspec.json.encode(d.one),
    encoded_renamed=lambda d: msgspec.json.encode([d.keyword, d.cached, d.fixed]),
    encoded_tagged=lambda d: msgspec.json.encode(d.tagged),
    encoded_msgpack=lambda d: msgspec.msgpack.encode([d.one, d.tagged]),
    encoded_and_decoded=lambda d: msgspec.json.decode(msgspec.json.encode(d.one), type=Child),
    several=lambda d: operator.attrgetter("name", "extra")(d.one),
)
family.heavy(
    fields_by_msgspec=lambda d: [f.name for f in msgspec.structs.fields(d.one)],
    all_pickled=lambda d: pickle.loads(pickle.dumps((d.fixed, d.cached, d.tagged))),
    all_copied=lambda d: (copy.copy(d.fixed), copy.deepcopy(d.untracked)),
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
    for o in (d.plain, d.one, d.untracked):
        total += o.size
    return total


@read
def copy_is_changed(d):
    copied = copy.copy(d.plain)
    copied.size += 1
    copied.name = "changed"
    return copied, d.plain.size, d.plain.name

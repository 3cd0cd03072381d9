"""Dicts and lists of other types: OrderedDict, defaultdict, Counter and the user's own; proxies;
bytearray; frozendict, where the interpreter has it."""
# Every way to spell a reading is wanted here, the old ones too.
# ruff: noqa: C416, RUF005, UP031

import binascii
import builtins
import collections
import copy
import hashlib
import json
import operator
import pickle
import string
import struct
import sys
import types
from collections.abc import Callable
from typing import Any

from .families import Family, instances

Data = dict[str, Any]


def mapping_reads(family: Family) -> None:
    """Reads of any mapping, called d.one: {"alpha": 1000, "beta": [1, 2], "gamma": "Zürich"}."""

    def hot(d: Any) -> int:
        total = 0
        for _ in range(4):
            total += d.one["alpha"]
        return total

    def matched(d: Any) -> object:
        match d.one:
            case {"alpha": a, "beta": [first, *_], **rest}:
                return a, first, rest
        return None

    family.reads(
        key=lambda d: d.one["alpha"],
        key_hot=hot,
        key_nested=lambda d: d.one["beta"][1],
        variable_key=lambda d: [d.one[k] for k in ("alpha", "gamma")],
        get=lambda d: (d.one.get("alpha"), d.one.get("nothing"), d.one.get("nothing", 5)),
        containment=lambda d: ("alpha" in d.one, "nothing" in d.one, 5 in d.one),
        length=lambda d: (len(d.one), bool(d.one), bool(d.empty), len(d.empty)),
        iteration=lambda d: [k for k in d.one],
        keys_of=lambda d: (list(d.one.keys()), "alpha" in d.one.keys()),
        values_of=lambda d: list(d.one.values()),
        items_of=lambda d: [(k, v) for k, v in d.one.items()],
        backwards=lambda d: (list(reversed(d.one)), list(reversed(d.one.items()))),
        key_sets=lambda d: (d.one.keys() & {"alpha"}, d.one.keys() - {"beta"}),
        unpacked=lambda d: {**d.one, "more": 1},
        as_arguments=lambda d: (lambda **kw: sorted(kw))(**d.one),
        plain=lambda d: dict(d.one),
        equality=lambda d: (d.one == dict(d.one), d.one == d.equal, d.one != d.empty, d.one == 5),
        equality_from_the_left=lambda d: ({"alpha": 1} == d.one, {} == d.empty),
        largest=lambda d: (max(d.one), min(d.one.keys()), sorted(d.one)),
        formatted_map=lambda d: "{alpha} {gamma}".format_map(d.one),
        templated=lambda d: string.Template("$alpha").substitute(d.one),
        percent=lambda d: "%(alpha)d" % d.one,
        itemgetter=lambda d: operator.itemgetter("alpha", "gamma")(d.one),
        chain_map=lambda d: collections.ChainMap({}, d.one)["gamma"],
        isinstance_of=lambda d: isinstance(d.one, collections.abc.Mapping),
        updated_copy=lambda d: dict(d.one) | {"alpha": 1},
        enumerated=lambda d: list(enumerate(d.one)),
        zipped=lambda d: dict(zip(d.one, d.one.values(), strict=True)),
        hash_refused=lambda d: isinstance(d.one, collections.abc.Hashable),
        matched=matched,
    )


def basic() -> Data:
    return {"alpha": 1000, "beta": [1, 2], "gamma": "Zürich"}


def of_type(make: Callable[[Data], Any]) -> Callable[[], Data]:
    return lambda: {"one": make(basic()), "equal": make(basic()), "empty": make({})}


def defaults(data: Data) -> Any:
    return collections.defaultdict(list, data)


family = Family("OrderedDict", of_type(collections.OrderedDict))
mapping_reads(family)
family.reads(
    order_of_keys=lambda d: next(iter(d.one)),
    equality_with_another=lambda d: d.one == collections.OrderedDict(basic()),
    copied=lambda d: dict(copy.copy(d.one)),
    united=lambda d: dict(d.one | {"x": 1}),
    dumped=lambda d: json.dumps(d.one),
)
family.heavy(
    deeply_copied=lambda d: dict(copy.deepcopy(d.one)),
    pickled=lambda d: dict(pickle.loads(pickle.dumps(d.one))),
)

family = Family("defaultdict", of_type(defaults))
mapping_reads(family)
family.reads(
    equality_with_another=lambda d: d.one == defaults(basic()),
    copied=lambda d: dict(copy.copy(d.one)),
    united=lambda d: dict(d.one | {"x": 1}),
    dumped=lambda d: json.dumps(d.one),
    grouped=lambda d: [len(v) for v in d.one.values() if isinstance(v, list)],
)
family.heavy(
    deeply_copied=lambda d: dict(copy.deepcopy(d.one)),
    pickled=lambda d: dict(pickle.loads(pickle.dumps(d.one))),
)

# ---- subclasses of dict -----------------------------------------------------------------------


class Config(dict):
    """With a __dict__, and keys as attributes."""

    kind = "config"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.source = "file.toml"

    def __getattr__(self, name):
        if name in self:
            return self[name]
        raise AttributeError(name)

    def __missing__(self, key):
        return f"no {key}"

    def port(self):
        return self["alpha"] + 1

    def get(self, key, default=None):
        return super().get(key, default)


class Slim(dict):
    __slots__ = ("extra",)


def make_subclasses():
    slim = Slim(a=1)
    slim.extra = 70_000
    return of_type(Config)() | {
        "other": Config(alpha=7),
        "slim": slim,
        "loop": (lambda c: c.update(me=c) or c)(Config(n=1)),
    }


family = Family("subclasses of dict", make_subclasses)
mapping_reads(family)
instances_of = Family("subclasses of dict, as instances", make_subclasses)
instances(instances_of, Config, lambda o: (dict(o), o.source), "source")
instances_of.reads(
    attribute=lambda d: d.one.source,
    key_as_attribute=lambda d: (d.one.alpha, hasattr(d.one, "nothing")),
    missing=lambda d: d.one["nothing"],
    method=lambda d: d.one.port(),
    overridden=lambda d: d.one.get("alpha"),
    class_variable=lambda d: d.one.kind,
    variables=lambda d: dict(vars(d.one)),
    slot=lambda d: (d.slim.extra, d.slim["a"]),
    cycle=lambda d: d.loop["me"]["me"]["n"],
    represented=lambda d: (repr(d.one), str(d.slim)),
)


class Weighted(collections.Counter):
    def heaviest(self):
        return self.most_common(1)[0][0]


def make_counters():
    return {
        "one": collections.Counter("abracadabra"),
        "equal": collections.Counter("abracadabra"),
        "other": collections.Counter({"a": -1, "z": 3000}),
        "empty": collections.Counter(),
        "weighted": Weighted("mississippi"),
    }


family = Family("Counter", make_counters)
instances(family, collections.Counter, dict, "total")
del family.all["getattr_by_name"], family.all["sort_by_attribute"], family.all["attrgetter"]
family.reads(
    key=lambda d: (d.one["a"], d.one["b"]),
    missing=lambda d: (d.one["nothing"], "nothing" in d.one),
    get=lambda d: (d.one.get("a"), d.one.get("x", 5)),
    length=lambda d: (len(d.one), len(d.empty), bool(d.empty)),
    most_common=lambda d: d.one.most_common(2),
    total=lambda d: d.one.total(),
    elements=lambda d: sorted(d.one.elements()),
    iteration=lambda d: [k for k in d.one],
    items_of=lambda d: list(d.one.items()),
    values_of=lambda d: sum(d.one.values()),
    added=lambda d: d.one + d.other,
    subtracted=lambda d: d.one - d.other,
    united=lambda d: (d.one | d.other, d.one & d.other),
    signs=lambda d: (+d.other, -d.other),
    equality=lambda d: (d.one == d.equal, d.one != d.equal, d.one == d.other),
    equality_with_plain=lambda d: (d.one == collections.Counter("abracadabra"), d.empty == {}),
    order=lambda d: (d.one <= d.equal, d.one < d.equal, d.one >= d.other),
    own_copy=lambda d: d.one.copy(),
    represented=lambda d: (repr(d.one), str(d.empty)),
    subclass=lambda d: (d.weighted.heaviest(), d.weighted["s"], d.weighted["x"]),
    largest=lambda d: max(d.one, key=d.one.get),
    plain=lambda d: dict(d.one),
    dumped=lambda d: json.dumps(d.one),
    counted_again=lambda d: collections.Counter(d.one),
)


@family.read
def copied_counter_is_changed(d):
    copied = copy.copy(d.one)
    copied["a"] += 1
    copied.update("zz")
    return copied, d.one["a"], d.one["z"]


# ---- subclasses of list -----------------------------------------------------------------------


class Stack(list):
    """With a __dict__."""

    def __init__(self, items=(), title="stack"):
        super().__init__(items)
        self.title = title

    def top(self):
        return self[-1]

    def __contains__(self, item):
        return super().__contains__(item)


class Row(list):
    __slots__ = ("label",)


def make_lists():
    row = Row([3, 1000, 2])
    row.label = "row"
    return {
        "one": Stack([5, 3000, "x", [7]]),
        "equal": Stack([5, 3000, "x", [7]]),
        "other": Stack([1], "other"),
        "numbers": Stack([5, 300, -7, 70_000]),
        "row": row,
        "empty": Row(),
    }


family = Family("subclasses of list", make_lists)
instances(family, Stack, lambda o: (list(o), o.title), "title")
family.reads(
    item=lambda d: (d.one[0], d.one[-1], d.row[1]),
    slice_=lambda d: (d.one[1:3], d.one[::-1], type(d.one[:2])),
    iteration=lambda d: [x for x in d.one],
    unpacked=lambda d: (lambda a, *b: (a, b))(*d.one),
    length=lambda d: (len(d.one), len(d.empty), bool(d.empty)),
    containment=lambda d: (3000 in d.one, 8 in d.one, 2 in d.row),
    count_and_index=lambda d: (d.one.count(5), d.one.index("x")),
    attribute=lambda d: (d.one.title, d.other.title, d.row.label),
    method=lambda d: d.one.top(),
    variables=lambda d: dict(vars(d.one)),
    equality=lambda d: (d.one == d.equal, d.one == d.other, d.row == [3, 1000, 2]),
    equality_from_the_left=lambda d: ([3, 1000, 2] == d.row, [] == d.empty),
    order=lambda d: (d.other < d.one, d.numbers > d.other, d.row >= [1]),
    concatenated=lambda d: (d.one + [1], [1] + d.row, d.row * 2),
    sorted_=lambda d: (sorted(d.numbers), max(d.numbers), sum(d.numbers)),
    backwards=lambda d: list(reversed(d.one)),
    own_copy=lambda d: (d.one.copy(), type(d.one.copy())),
    represented=lambda d: (repr(d.one), str(d.empty), f"{d.row}"),
    joined=lambda d: "-".join(map(str, d.numbers)),
    dumped=lambda d: json.dumps(d.one),
    plain=lambda d: (list(d.one), tuple(d.row), set(d.numbers)),
    zipped=lambda d: list(zip(d.one, d.numbers, strict=True)),
    enumerated=lambda d: list(enumerate(d.row)),
)


@family.read
def matched_list(d):
    match d.one:
        case [5, a, *rest]:
            return a, rest
    return None


@family.read
def list_loop(d):
    total = 0
    for x in d.numbers:
        total += x
    return total


@family.read
def copied_list_is_changed(d):
    copied = copy.copy(d.row)
    copied.append(1)
    copied.sort()
    return copied, copied.label, d.row[0], len(d.row)


# ---- mappingproxy -----------------------------------------------------------------------------

family = Family("mappingproxy", of_type(types.MappingProxyType))
mapping_reads(family)
family.reads(
    exact_type=lambda d: type(d.one) is types.MappingProxyType,
    represented=lambda d: (repr(d.one), str(d.empty)),
    own_copy=lambda d: d.one.copy(),
    united=lambda d: d.one | {"x": 1},
    refused=lambda d: hasattr(d.one, "__setitem__"),
)

# ---- bytearray --------------------------------------------------------------------------------


def make_bytes():
    return {
        "one": bytearray(b"GET /index.html HTTP/1.1"),
        "equal": bytearray(b"GET /index.html HTTP/1.1"),
        "blob": bytearray(range(256)),
        "empty": bytearray(),
    }


family = Family("bytearray", make_bytes)
family.reads(
    item=lambda d: (d.one[0], d.one[-1]),
    slice_=lambda d: (bytes(d.one[4:9]), bytes(d.one[::-1])),
    length=lambda d: (len(d.one), bool(d.empty)),
    iteration=lambda d: [b for b in d.one],
    containment=lambda d: (b"index" in d.one, 71 in d.one, b"x" in d.empty),
    equality=lambda d: (d.one == d.equal, d.one == b"x", d.one != d.empty),
    equality_from_the_left=lambda d: (b"" == d.empty, bytearray(b"") == d.empty),
    order=lambda d: (d.one < b"H", d.one >= d.equal, b"A" < d.one),
    found=lambda d: (d.one.find(b"/"), d.one.rfind(b"/"), d.one.index(b"GET")),
    counted=lambda d: (d.one.count(b"T"), d.one.count(84)),
    prefix=lambda d: (d.one.startswith(b"GET"), d.one.endswith((b"1.0", b"1.1"))),
    split=lambda d: [bytes(p) for p in d.one.split()],
    partitioned=lambda d: [bytes(p) for p in d.one.partition(b" ")],
    decoded=lambda d: (d.one.decode(), d.one.decode("latin-1")),
    hexadecimal=lambda d: (d.one.hex(), d.one.hex("-", 4)),
    cases=lambda d: (bytes(d.one.lower()), bytes(d.one.upper()), bytes(d.one.title())),
    tests=lambda d: (d.one.isascii(), d.one.isalpha(), d.blob.isascii()),
    replaced=lambda d: bytes(d.one.replace(b"GET", b"PUT")),
    stripped=lambda d: (bytes(d.one.strip(b"G1")), bytes(d.one.removeprefix(b"GET "))),
    translated=lambda d: bytes(d.one.translate(bytes(range(256)), b"/")),
    padded=lambda d: (bytes(d.one.center(40, b"*")), bytes(d.one.zfill(30))),
    concatenated=lambda d: (bytes(d.one + b"!"), bytes(b"!" + d.one), bytes(d.one * 2)),
    formatted=lambda d: b"<%s>" % d.one,
    joined=lambda d: b",".join([d.one, d.empty]),
    as_bytes=lambda d: bytes(d.one),
    as_bytearray=lambda d: bytearray(d.one),
    viewed=lambda d: (memoryview(d.one)[3], memoryview(d.blob)[250:].tobytes()),
    unpacked=lambda d: struct.unpack_from("<HI", d.blob, 7),
    as_number=lambda d: int.from_bytes(d.one[:8], "big"),
    largest=lambda d: (max(d.one), min(d.one), sum(d.blob)),
    checksum=lambda d: (binascii.crc32(d.one), hashlib.sha256(d.one).digest()),
    base64=lambda d: binascii.b2a_base64(d.one),
    of_int=lambda d: int(bytes(d.one[-3:-2])),
    copied=lambda d: bytearray(copy.copy(d.one)),
)
family.heavy(pickled=lambda d: bytes(pickle.loads(pickle.dumps(d.one))))

# ---- frozendict -------------------------------------------------------------------------------

if sys.version_info >= (3, 15):
    family = Family("frozendict", of_type(builtins.frozendict))
    mapping_reads(family)
    family.reads(
        exact_type=lambda d: type(d.one) is builtins.frozendict,
        represented=lambda d: (repr(d.one), str(d.empty)),
        hashed=lambda d: hash(d.empty) == hash(builtins.frozendict()),
        united=lambda d: d.one | {"x": 1},
        copied=lambda d: copy.copy(d.one),
    )

"""msgspec: encodes, converts and holds frozen data."""

import dataclasses

import pytest
from _rounds import PLAIN, rounds

import pmalloc

msgspec = pytest.importorskip("msgspec")


class Limits(msgspec.Struct, frozen=True):
    soft: int
    hard: int


class Route(msgspec.Struct):
    path: str
    to: str


class Config(msgspec.Struct):
    name: str
    port: int
    debug: bool
    ratio: float
    nothing: None
    hosts: list[str]
    limits: Limits
    routes: list[Route]


class Record(msgspec.Struct, forbid_unknown_fields=True):
    id: int
    name: str
    score: float
    city: str


class Holder(msgspec.Struct):
    config: dict
    numbers: list
    tags: object


@rounds
def test_json_encode(d):
    return msgspec.json.encode([d.config, d.records, d.rows, d.blob, d.empty])


@rounds
def test_json_encode_sorted(d):
    return msgspec.json.encode(d.config, order="sorted"), msgspec.json.encode(
        [d.tags, d.members], order="deterministic"
    )


@rounds
def test_json_encode_lines(d):
    return msgspec.json.Encoder().encode_lines(d.records)


@rounds
def test_json_encode_into(d):
    buffer = bytearray()
    encoder = msgspec.json.Encoder()
    encoder.encode_into(d.columns, buffer)
    return bytes(buffer)


@rounds
def test_json_decode_frozen_text(d):
    return msgspec.json.decode(d.strings["one"]), msgspec.json.decode(d.strings["two"], type=int)


@rounds
def test_msgpack_encode(d):
    return msgspec.msgpack.encode([d.config, d.records, d.row, d.blob, d.mixed])


@rounds
def test_to_builtins(d):
    return msgspec.to_builtins([d.config, d.rows]), msgspec.to_builtins(d.tags, order="sorted")


@rounds
def test_convert_to_structs(d):
    config = msgspec.convert(d.config, Config)
    return config, msgspec.convert(d.records, list[Record]), config.limits.hard


@rounds
def test_convert_strictly(d):
    return (
        msgspec.convert(d.numbers, list[int], strict=True),
        msgspec.convert(d.row, tuple[str, int, float, None, tuple[str, bytes]], strict=True),
        msgspec.convert(d.tags, set[str], strict=True),
        msgspec.convert(d.members, frozenset[str], strict=True),
        msgspec.convert(d.strings, dict[str, str], strict=True),
    )


@rounds
def test_convert_numbers_in_text(d):
    return msgspec.convert([d.strings["one"], d.strings["two"]], list[int], strict=False)


@rounds
def test_structs_that_hold_frozen_data(d):
    holder = Holder(d.config, d.numbers, d.tags)
    return (
        msgspec.structs.asdict(holder),
        msgspec.structs.astuple(holder),
        msgspec.structs.replace(holder, numbers=[]).numbers,
        holder == Holder(d.config, d.numbers, d.tags),
        msgspec.json.encode(msgspec.structs.replace(holder, tags=None)),
    )


# But for 3.13, msgspec would have the interpreter make a __dict__ inside such an instance, behind
# every descriptor's back: tests/crimes/dataclass_msgspec.py. So theirs is linked.
@dataclasses.dataclass
class Backend:
    host: str
    port: int
    tags: list[str]


pmalloc.register(Backend, linked_dict=True)
BACKENDS = [Backend("alpha.example", 8080, ["a", "ü"]), Backend("beta.example", 300, [])]
FROZEN_BACKENDS = pmalloc.freeze(BACKENDS, name="backends")


@rounds
def test_encode_instances_with_a_dict(d):
    backends = BACKENDS if d is PLAIN else FROZEN_BACKENDS
    return (
        msgspec.json.encode(backends),
        msgspec.msgpack.encode(backends[0]),
        msgspec.to_builtins(backends[1]),
    )


@rounds
def test_encode_instances_as_dicts(d):
    return msgspec.json.encode([dataclasses.asdict(d.backend), pmalloc.thaw(d.services)])


@rounds
def test_encode_instances(d):
    values = [d.limit, d.when, d.day, d.clock, d.span, d.uid, d.price]
    return msgspec.json.encode(values), msgspec.msgpack.encode(values), msgspec.to_builtins(values)


@rounds
def test_convert_from_instances(d):
    return (
        msgspec.convert(d.limit, Limits, from_attributes=True),
        msgspec.convert(d.when, type(d.when)),
        msgspec.convert(d.uid, type(d.uid)),
    )


STRUCTS = {"limits": Limits(1024, 1 << 40), "routes": [Route("/", "index"), Route("/c", "shop")]}
FROZEN_STRUCTS = pmalloc.freeze(STRUCTS, name="structs")


@rounds
def test_frozen_structs(d):
    """Structs that were frozen, read as Structs."""
    all_of = STRUCTS if d is PLAIN else FROZEN_STRUCTS
    limits, route = all_of["limits"], all_of["routes"][1]
    return (
        msgspec.json.encode(all_of),
        msgspec.msgpack.encode(all_of),
        msgspec.to_builtins(all_of),
        msgspec.structs.asdict(limits),
        msgspec.structs.astuple(route),
        [f.name for f in msgspec.structs.fields(limits)],
        (limits.hard, route.path, limits == Limits(1024, 1 << 40), hash(limits), repr(route)),
        msgspec.convert(limits, Limits, from_attributes=True).soft,
        msgspec.structs.replace(limits, soft=1),
    )


def test_convert_of_a_frozen_struct_refuses():
    """convert() to a Struct's own class wants exactly that class; from_attributes is the remedy."""
    with pytest.raises(msgspec.ValidationError, match="Expected `object`, got `Limits`"):
        msgspec.convert(FROZEN_STRUCTS["limits"], Limits)

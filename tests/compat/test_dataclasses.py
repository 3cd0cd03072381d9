"""dataclasses that hold frozen data; asdict() rebuilds containers by calling their type."""

import dataclasses

from _rounds import rounds


@dataclasses.dataclass(order=True)
class Holder:
    numbers: list
    row: tuple
    config: dict = dataclasses.field(compare=False)
    tags: frozenset | set = dataclasses.field(compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    soft: int
    hard: int


def holder(d):
    return Holder(d.numbers, d.row, d.config, d.tags)


@rounds
def test_asdict(d):
    plain = dataclasses.asdict(holder(d))
    return plain, type(plain["config"]) is dict, type(plain["numbers"]) is list


@rounds
def test_asdict_is_mutable(d):
    plain = dataclasses.asdict(holder(d))
    plain["config"]["hosts"].append("delta.example")
    plain["numbers"].sort()
    plain["tags"].add("violet")
    return plain


@rounds
def test_asdict_with_a_factory(d):
    return dataclasses.asdict(holder(d), dict_factory=lambda items: sorted(items, key=len))


@rounds
def test_astuple(d):
    return dataclasses.astuple(holder(d))


@rounds
def test_replace(d):
    return dataclasses.replace(holder(d), numbers=d.matrix[1]).numbers


@rounds
def test_comparison(d):
    other = Holder([*d.numbers], (*d.row,), {}, set())
    return holder(d) == other, holder(d) < other, holder(d) >= other


@rounds
def test_keywords(d):
    made = Limits(**d.config["limits"])
    return repr(made), hash(made)


@rounds
def test_fields_by_name(d):
    return {f.name: getattr(holder(d), f.name) for f in dataclasses.fields(Holder)}


@rounds
def test_frozen_instances(d):
    plain = dataclasses.asdict(d.backend)
    return (
        plain,
        type(plain["limit"]) is dict,
        type(plain["hosts"]) is list,
        dataclasses.astuple(d.limit),
        dataclasses.replace(d.limit, soft=1),
        [f.name for f in dataclasses.fields(d.backend)],
        hash(d.limit) == hash(Limits(1024, 1 << 40)),
        d.backend.url,
        repr(d.backend),
    )

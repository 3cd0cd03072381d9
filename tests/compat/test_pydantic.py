"""pydantic: validates frozen data, holds it and serialises it; a strict set wants a set."""

import datetime as dt
import decimal
import uuid
from typing import Annotated, Any

import pytest
from _data import Service
from _rounds import PLAIN, refused, rounds

import pmalloc

pydantic = pytest.importorskip("pydantic")


class Limits(pydantic.BaseModel):
    soft: int
    hard: int


class Config(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    name: str
    port: Annotated[int, pydantic.Field(gt=0, lt=65536)]
    debug: bool
    ratio: float
    nothing: None
    hosts: list[str]
    limits: Limits
    routes: list[dict[str, str]]
    city: str = pydantic.Field(alias="städtchen")

    @pydantic.field_validator("hosts")
    @classmethod
    def hosts_have_dots(cls, hosts):
        assert all("." in host for host in hosts)
        return hosts


class Holder(pydantic.BaseModel):
    config: Any
    numbers: Any
    row: Any


@pydantic.validate_call
def listen(name: str, port: int, hosts: list[str], **_: Any):
    return name, port, hosts


RECORDS = pydantic.TypeAdapter(list[dict[str, int | str | float]])
ROW = pydantic.TypeAdapter(tuple[str, int, float, None, tuple[str, bytes]])
MEMBERS = pydantic.TypeAdapter(frozenset[str])
TAGS = pydantic.TypeAdapter(set[str])
LAX_TAGS = pydantic.TypeAdapter(Annotated[set[str], pydantic.Field(strict=False)])
NUMBER = pydantic.TypeAdapter(int)
TEXT = pydantic.TypeAdapter(str)


@rounds
def test_model_validate(d):
    config = Config.model_validate(d.config)
    return config, config.limits.hard, config.hosts, type(config.hosts) is list


@rounds
def test_model_validate_strictly(d):
    return Config.model_validate(d.config, strict=True).model_dump_json()


@rounds
def test_model_from_keywords(d):
    return Config(**d.config), Limits(**d.config["limits"]), Config.model_construct(**d.config)


@rounds
def test_adapters(d):
    return (
        RECORDS.validate_python(d.records),
        ROW.validate_python(d.row, strict=True),
        MEMBERS.validate_python(d.members, strict=True),
        TAGS.validate_python(d.tags),
    )


def test_strict_set_refuses():
    refused(
        lambda d: TAGS.validate_python(d.tags, strict=True),
        pydantic.ValidationError,
        "Input should be a valid set",
    )


@rounds
def test_lax_set_among_strict_fields(d):
    return LAX_TAGS.validate_python(d.tags), TAGS.validate_python({*d.tags}, strict=True)


@rounds
def test_validate_json_in_frozen_text(d):
    return NUMBER.validate_json(d.strings["two"]), TEXT.validate_python(d.astral, strict=True)


@rounds
def test_validation_errors(d):
    with pytest.raises(pydantic.ValidationError) as caught:
        Config.model_validate(d.config["limits"])
    return caught.value.error_count(), str(caught.value).replace("FrozenDict", "dict")


@rounds
def test_models_that_hold_frozen_data(d):
    holder = Holder(config=d.config, numbers=d.numbers, row=d.row)
    return (
        holder == Holder(config=d.config, numbers=d.numbers, row=d.row),
        holder.model_dump()["config"]["limits"]["hard"],
        holder.model_copy(update={"row": None}).numbers[1],
    )


@rounds
def test_dumped_json(d):
    return Holder(config=d.config, numbers=d.records, row=d.rows).model_dump_json()


@rounds
def test_dumped_json_mode(d):
    return Holder(config=d.config, numbers=d.matrix, row=d.pair).model_dump(mode="json")


@rounds(count=4_000)  # 40 objects a round
def test_deep_copies(d):
    copy = Holder(config=d.config, numbers=d.numbers, row=d.row).model_copy(deep=True)
    return copy, type(copy.config) is dict, type(copy.config["routes"]) is list


@rounds
def test_serialise_without_a_model(d):
    from pydantic_core import to_json, to_jsonable_python

    return to_json([d.config, d.records, d.rows]), to_jsonable_python(d.config), to_json(d.latin)


@rounds
def test_validate_call(d):
    return listen(**d.config), listen(d.latin, d.numbers[1], d.words)


@rounds
def test_pydantic_dataclass(d):
    return Point(x=d.floats[0], tags=d.words), Point(x=1, tags=d.words).tags[0]


@pydantic.dataclasses.dataclass
class Point:
    x: float
    tags: list[str]


class Machine(pydantic.BaseModel):
    name: str
    hosts: list[str]
    limit: Limits
    since: dt.datetime
    price: decimal.Decimal
    limits: dict[str, Limits] = pydantic.Field(default_factory=dict)


MACHINE = pydantic.TypeAdapter(Machine)
ANYTHING = pydantic.TypeAdapter(Any)
EXACT = pydantic.TypeAdapter(
    tuple[dt.datetime, dt.date, dt.time, dt.timedelta, decimal.Decimal, uuid.UUID]
)
DATACLASS = pydantic.TypeAdapter(Service)


@rounds
def test_validate_attributes(d):
    return MACHINE.validate_python(d.backend, from_attributes=True)


@rounds
def test_validate_dates_strictly(d):
    values = (d.when, d.day, d.clock, d.span, d.price, d.uid)
    return EXACT.validate_python(values, strict=True), EXACT.dump_json(values)


@rounds
def test_dataclasses(d):
    return (
        DATACLASS.validate_python(d.backend),
        DATACLASS.dump_json(d.backend),
        DATACLASS.dump_python(d.backend),
        ANYTHING.dump_json([d.limit, d.services, d.address]),
    )


MODEL = MACHINE.validate_python(PLAIN.backend, from_attributes=True)
MODEL.limits["all"] = Limits(soft=7000, hard=300)
FROZEN_MODEL = pmalloc.freeze(MODEL, name="model")


@rounds
def test_frozen_models(d):
    """Models that were frozen, read as models."""
    model = MODEL if d is PLAIN else FROZEN_MODEL
    return (
        (model.name, model.limit.hard, model.limits["all"].soft, model == MODEL, repr(model)),
        model.model_dump(),
        model.model_dump_json(),
        MACHINE.validate_python(model),
        sorted(model.model_fields_set),
        model.model_copy(deep=True).limits,
        pmalloc.thaw(model).model_copy(update={"name": "x"}).name,
        [name for name, _ in model],
    )


@pytest.mark.parametrize("what", ["an attribute", "a copy's fields"])
def test_frozen_models_refuse(what):
    def change(_):
        if what == "an attribute":
            FROZEN_MODEL.name = "x"
        else:
            FROZEN_MODEL.model_copy(update={"name": "x"})

    with pytest.raises((AttributeError, TypeError), match="frozen"):
        change(None)

"""attrs and cattrs: classes that hold frozen data, and frozen data made into classes."""

import pytest
from _rounds import PLAIN, rounds

import pmalloc

attrs = pytest.importorskip("attrs")

import attr  # noqa: E402


@attrs.define
class Limits:
    soft: int = attrs.field(validator=attrs.validators.instance_of(int))
    hard: int


@attrs.frozen
class Holder:
    config: dict = attrs.field(validator=attrs.validators.instance_of(dict))
    numbers: list = attrs.field(
        validator=attrs.validators.deep_iterable(
            attrs.validators.instance_of(int), attrs.validators.instance_of(list)
        )
    )
    tags: frozenset = attrs.field(factory=frozenset, converter=frozenset)
    row: tuple = attrs.field(default=(), eq=attrs.cmp_using(eq=lambda a, b: a == b))


@attrs.define
class Route:
    path: str
    to: str = attrs.field(converter=str.upper)


@attrs.define
class Config:
    name: str
    port: int
    hosts: list[str]
    limits: Limits
    routes: list[Route]
    ratio: float | None = None


def holder(d):
    return Holder(d.config, d.numbers, d.tags, d.row)


@rounds
def test_define_and_validate(d):
    made = holder(d)
    return made == holder(d), repr(made.numbers), made.config["limits"], made.row, made.tags


@rounds
def test_keywords(d):
    return Limits(**d.config["limits"]), [Route(**route) for route in d.config["routes"]]


@rounds
def test_asdict(d):
    plain = attrs.asdict(holder(d))
    return plain, type(plain["config"]) is dict, type(plain["numbers"]) is list


@rounds
def test_asdict_retaining_types(d):
    plain = attr.asdict(holder(d), retain_collection_types=True)
    return plain, type(plain["config"]) is dict, type(plain["row"]) is tuple


@rounds
def test_astuple(d):
    return attrs.astuple(holder(d)), attr.astuple(holder(d), retain_collection_types=True)


@rounds
def test_evolve(d):
    return attrs.evolve(holder(d), numbers=d.matrix[0]).numbers


@rounds
def test_filters(d):
    return attrs.asdict(holder(d), filter=attrs.filters.exclude("config", "tags"))


@rounds
def test_in_validator(d):
    path = attrs.fields(Route).path
    return [attrs.validators.in_(x)(None, path, d.words[1]) for x in (d.words, [*d.words])]


cattrs = pytest.importorskip("cattrs")

from cattrs.preconf.json import make_converter  # noqa: E402

CONVERTER = cattrs.Converter()
JSON = make_converter()
STRICT = cattrs.Converter(forbid_extra_keys=True)


@rounds
def test_structure(d):
    config = cattrs.structure(d.config, Config)
    return config, config.limits.hard, config.routes[1].to


@rounds
def test_structure_strictly(d):
    return STRICT.structure(d.config["limits"], Limits), STRICT.structure(
        d.config["routes"], tuple[Route, ...]
    )


@rounds
def test_structure_containers(d):
    return (
        CONVERTER.structure(d.numbers, list[int]),
        CONVERTER.structure(d.tags, set[str]),
        CONVERTER.structure(d.members, frozenset[str]),
        CONVERTER.structure(d.strings, dict[str, str]),
        CONVERTER.structure(d.pair, tuple[str, int]),
    )


@rounds
def test_unstructure(d):
    return cattrs.unstructure(holder(d)), cattrs.unstructure(d.records)


@rounds
def test_unstructure_by_the_json_converter(d):
    return JSON.dumps(Limits(**d.config["limits"])), JSON.loads(d.strings["two"], int)


CONFIG = Config(
    "shöp", 8080, ["a.example"], Limits(7000, 300), [Route("/", "index"), Route("/c", "cart")], 0.5
)
FROZEN_CONFIG = pmalloc.freeze(CONFIG, name="config")


@rounds
def test_frozen_instances(d):
    """Instances that were frozen, read as instances of their class."""
    config = CONFIG if d is PLAIN else FROZEN_CONFIG
    plain = attrs.asdict(config)
    return (
        (config.name, config.limits.hard, config.routes[1].to, config == CONFIG, repr(config)),
        plain,
        type(plain["hosts"]) is list,
        attrs.astuple(config),
        attrs.evolve(config, port=1).port,
        [field.name for field in attrs.fields(type(config))],
        attrs.has(type(config)),
    )


@rounds
def test_frozen_instances_unstructured(d):
    config = CONFIG if d is PLAIN else FROZEN_CONFIG
    return (
        cattrs.unstructure(config),
        JSON.dumps(config),
        cattrs.structure(cattrs.unstructure(config), Config),
    )


def test_frozen_instances_refuse():
    with pytest.raises(AttributeError, match="frozen"):
        FROZEN_CONFIG.port = 1
    with pytest.raises(AttributeError, match="frozen"):
        FROZEN_CONFIG.limits.soft = 1

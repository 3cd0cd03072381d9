"""PyYAML: its dumpers look types up exactly, so they are told about three more."""

import pytest
from _data import Limit
from _rounds import refused, rounds

import pmalloc

yaml = pytest.importorskip("yaml")

Dumpers = [getattr(yaml, name) for name in ("SafeDumper", "CSafeDumper") if hasattr(yaml, name)]


def told(base):
    """The remedy of docs/compat.md, on a dumper of our own."""

    class Told(base):
        pass

    Told.add_representer(pmalloc.FrozenDict, Told.represent_dict)
    Told.add_representer(pmalloc.FrozenList, Told.represent_list)
    Told.add_representer(pmalloc.FrozenSet, Told.represent_set)
    return Told


Safe = told(yaml.SafeDumper)
Full = told(yaml.Dumper)
CSafe = told(getattr(yaml, "CSafeDumper", yaml.SafeDumper))


@pytest.mark.parametrize("dumper", Dumpers, ids=lambda dumper: dumper.__name__)
@pytest.mark.parametrize("part", ["config", "matrix", "tags"])
def test_safe_dump_refuses(dumper, part):
    refused(
        lambda d: yaml.dump(getattr(d, part), Dumper=dumper),
        yaml.representer.RepresenterError,
        "cannot represent an object",
    )


# Dumping takes a millisecond a page: 25 to 50 frozen objects are read in each round.
@rounds(count=1_000)
def test_safe_dump_told(d):
    return yaml.dump(d.config, Dumper=Safe)


@rounds(count=1_000)
def test_full_dump_told(d):
    return yaml.dump([d.rows, d.members, d.mixed], Dumper=Full)


@rounds(count=1_000)
def test_libyaml_dump_told(d):
    return yaml.dump([d.config, d.records, d.tags], Dumper=CSafe, allow_unicode=True)


@rounds(count=1_000)
def test_aliases(d):
    """What is shared in the frozen graph is dumped once, as it is from the plain one."""
    return yaml.dump([d.matrix, d.matrix, d.config["limits"], d.config["limits"]], Dumper=CSafe)


@rounds(count=1_000)
def test_safe_dump_of_a_thawed_copy(d):
    return yaml.safe_dump([pmalloc.thaw(d.config), pmalloc.thaw(d.tags)])


@rounds(count=2_000)
def test_full_dump_untold_loads_to_plain_data(d):
    """yaml.dump() without the remedy writes what pickle would, and UnsafeLoader reads it back."""
    loaded = yaml.unsafe_load(yaml.dump(d.config["limits"]))
    return loaded, type(loaded) is dict


@rounds
def test_scalars(d):
    return [CSafe(None).represent_data(x).value for x in (d.text, d.latin, d.pair[1], d.key)]


@rounds(count=2_000)
def test_loads_frozen_text(d):
    return yaml.safe_load(d.text), yaml.safe_load(d.latin), yaml.safe_load(d.strings["two"])


@rounds(count=2_000)
def test_dates(d):
    return yaml.safe_dump([d.when, d.day]), yaml.dump([d.when, d.day], Dumper=CSafe)


@rounds(count=1_000)
def test_instances(d):
    """By the full dumper: as an ordinary instance, which is what it is loaded as."""
    loaded = yaml.unsafe_load(yaml.dump([d.limit, d.services], Dumper=Full))
    return loaded, type(loaded[0]) is Limit

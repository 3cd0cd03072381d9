"""ormsgpack: as orjson."""

import pytest
from _rounds import refused, rounds

import pmalloc

ormsgpack = pytest.importorskip("ormsgpack")


@rounds
def test_packb_config(d):
    return ormsgpack.packb(d.config)


@rounds
def test_packb_records(d):
    return ormsgpack.packb(d.records), ormsgpack.packb(d.matrix), ormsgpack.packb(d.columns)


@rounds
def test_packb_tuples_and_bytes(d):
    return ormsgpack.packb(d.row), ormsgpack.packb(d.rows), ormsgpack.packb(d.blob)


@rounds
def test_packb_other_keys(d):
    return ormsgpack.packb(d.mixed, option=ormsgpack.OPT_NON_STR_KEYS)


@rounds
def test_packb_sorted(d):
    return ormsgpack.packb(d.config, option=ormsgpack.OPT_SORT_KEYS)


@rounds
def test_packb_sets_by_default(d):
    return ormsgpack.packb([d.tags, d.members], default=sorted)


@rounds
def test_round_trip(d):
    return ormsgpack.unpackb(ormsgpack.packb(d.config)) == d.config


def test_passthrough_refuses():
    refused(
        lambda d: ormsgpack.packb(d.config, option=ormsgpack.OPT_PASSTHROUGH_SUBCLASS),
        TypeError,
        "pmalloc.FrozenDict",
    )


@rounds
def test_passthrough_with_thaw(d):
    return ormsgpack.packb(
        [d.config, d.matrix],
        option=ormsgpack.OPT_PASSTHROUGH_SUBCLASS,
        default=pmalloc.thaw,
    )


@rounds
def test_packb_instances(d):
    return ormsgpack.packb(d.limit), ormsgpack.packb([d.backend, d.services], default=str)


@rounds
def test_packb_dates_and_uuids(d):
    dates = [d.when, d.naive, d.day, d.clock, d.uid, d.price]
    return ormsgpack.packb(dates, default=str)

"""python-rapidjson: passes subclasses of dict and list; a set goes through `default`."""

import pytest
from _rounds import refused, rounds

import pmalloc

rapidjson = pytest.importorskip("rapidjson")


@rounds
def test_dumps_config(d):
    return rapidjson.dumps(d.config), rapidjson.dumps(d.config, ensure_ascii=False, indent=2)


@rounds
def test_dumps_records(d):
    return rapidjson.dumps(d.records, sort_keys=True), rapidjson.dumps(d.rows)


def test_lists_only_refuses():
    refused(
        lambda d: rapidjson.dumps(d.matrix, iterable_mode=rapidjson.IM_ONLY_LISTS),
        TypeError,
        "is not JSON serializable",
    )


def test_dicts_only_refuses():
    refused(
        lambda d: rapidjson.dumps(d.strings, mapping_mode=rapidjson.MM_ONLY_DICTS),
        TypeError,
        "is not JSON serializable",
    )


@rounds
def test_lists_and_dicts_only_with_thaw(d):
    return rapidjson.dumps(
        d.records,
        iterable_mode=rapidjson.IM_ONLY_LISTS,
        mapping_mode=rapidjson.MM_ONLY_DICTS,
        default=pmalloc.thaw,
    )


@rounds
def test_dumps_dicts_with_other_keys(d):
    return (
        rapidjson.dumps(d.mixed, mapping_mode=rapidjson.MM_SKIP_NON_STRING_KEYS),
        rapidjson.dumps({1: d.mixed[1]}, mapping_mode=rapidjson.MM_COERCE_KEYS_TO_STRINGS),
    )


@rounds
def test_dumps_sets_by_default(d):
    return rapidjson.dumps([d.tags, d.members], default=sorted)


@rounds
def test_encoder(d):
    return rapidjson.Encoder(sort_keys=True)(d.columns), rapidjson.Decoder()(d.strings["two"])


@rounds
def test_validator(d):
    schema = '{"type": "object", "required": ["name"]}'
    return rapidjson.Validator(schema)(rapidjson.dumps(d.config))


@rounds
def test_dumps_dates_and_decimals(d):
    return rapidjson.dumps(
        [d.when, d.day, d.clock, d.uid, d.price],
        datetime_mode=rapidjson.DM_ISO8601,
        uuid_mode=rapidjson.UM_CANONICAL,
        number_mode=rapidjson.NM_DECIMAL,
    )

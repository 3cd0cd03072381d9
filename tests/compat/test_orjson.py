"""orjson: subclasses of dict and list pass, unless it is told to pass them to `default`."""

import pytest
from _rounds import refused, rounds

import pmalloc

orjson = pytest.importorskip("orjson")


@rounds
def test_dumps_config(d):
    return orjson.dumps(d.config)


@rounds
def test_dumps_records(d):
    return orjson.dumps(d.records), orjson.dumps(d.matrix), orjson.dumps(d.empty, default=list)


@rounds
def test_dumps_tuples(d):
    return orjson.dumps(d.rows), orjson.dumps(d.pair)


@rounds
def test_dumps_scalars(d):
    return [orjson.dumps(x) for x in (d.text, d.latin, d.astral, d.pair[1], d.floats[0])]


@rounds
def test_dumps_sorted_and_indented(d):
    return orjson.dumps(d.config, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)


@rounds
def test_dumps_other_keys(d):
    return orjson.dumps({k: d.mixed[k] for k in (1, "a", 2.5)}, option=orjson.OPT_NON_STR_KEYS)


@rounds
def test_dumps_a_set_by_default(d):
    return orjson.dumps({"tags": d.tags, "members": d.members}, default=sorted)


@rounds
def test_fragments(d):
    return orjson.dumps({"a": orjson.Fragment(d.text.join('""')), "b": orjson.Fragment(b"[1]")})


@rounds
def test_round_trip(d):
    return orjson.loads(orjson.dumps(d.config)) == d.config


def test_passthrough_refuses():
    refused(
        lambda d: orjson.dumps(d.config, option=orjson.OPT_PASSTHROUGH_SUBCLASS),
        TypeError,
        "pmalloc.FrozenDict",
    )


@rounds
def test_passthrough_with_thaw(d):
    return orjson.dumps(
        {"a": d.config, "b": d.matrix},
        option=orjson.OPT_PASSTHROUGH_SUBCLASS,
        default=pmalloc.thaw,
    )


@rounds
def test_dumps_instances(d):
    return orjson.dumps(d.limit), orjson.dumps([d.backend, d.services], default=str)


@rounds
def test_dumps_dates_and_uuids(d):
    dates = [d.when, d.naive, d.day, d.clock, d.uid]
    return orjson.dumps(dates, default=str), orjson.dumps(d.naive, option=orjson.OPT_NAIVE_UTC)


@rounds
def test_dumps_others_by_default(d):
    return orjson.dumps([d.price, d.third, d.address, d.span, d.point], default=str)

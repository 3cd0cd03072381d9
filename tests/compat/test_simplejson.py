"""simplejson, with its C accelerator."""

import pytest
from _rounds import rounds

simplejson = pytest.importorskip("simplejson")


@rounds
def test_dumps_config(d):
    return simplejson.dumps(d.config), simplejson.dumps(d.config, ensure_ascii=False)


@rounds
def test_dumps_records(d):
    return simplejson.dumps(d.records, sort_keys=True), simplejson.dumps(d.rows)


# Without the C accelerator, which does not indent: 8 frozen objects a round.
@rounds(count=5_000)
def test_dumps_indented(d):
    return simplejson.dumps(d.config["routes"], indent=2)


@rounds
def test_dumps_sorted_by_a_key(d):
    return simplejson.dumps(d.config, item_sort_key=lambda item: item[0][::-1])


@rounds
def test_dumps_sets(d):
    return (
        simplejson.dumps([d.tags, d.members], default=sorted),
        sorted(simplejson.loads(simplejson.dumps(d.tags, iterable_as_array=True))),
    )


@rounds
def test_dumps_other_keys(d):
    return simplejson.dumps(d.mixed, skipkeys=True), simplejson.dumps(d.big, bigint_as_string=True)


@rounds
def test_loads_frozen_text(d):
    return simplejson.loads(d.strings["two"]), simplejson.loads(d.strings["one"].encode())


@rounds
def test_dumps_named_tuples_and_decimals(d):
    return simplejson.dumps(d.points), simplejson.dumps([d.point, d.price], use_decimal=True)

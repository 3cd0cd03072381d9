"""ujson: passes subclasses."""

import pytest
from _rounds import rounds

ujson = pytest.importorskip("ujson")


@rounds
def test_dumps_config(d):
    return ujson.dumps(d.config), ujson.dumps(d.config, ensure_ascii=False, sort_keys=True)


@rounds
def test_dumps_records(d):
    return ujson.dumps(d.records), ujson.dumps(d.rows), ujson.dumps(d.matrix, indent=2)


@rounds
def test_dumps_scalars(d):
    return [ujson.dumps(x) for x in (d.text, d.latin, d.astral, d.pair[1], d.big, *d.floats)]


@rounds
def test_dumps_sets_by_default(d):
    return ujson.dumps([d.tags, d.members], default=sorted)


@rounds
def test_dumps_bytes(d):
    return ujson.dumps(d.key, reject_bytes=False)


@rounds
def test_loads_frozen_text(d):
    return ujson.loads(d.strings["two"]), ujson.loads(ujson.dumps(d.config)) == d.config

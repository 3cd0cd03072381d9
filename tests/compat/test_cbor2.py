"""cbor2: encodes by its subclasses' rule, sets as sets."""

import pytest
from _rounds import rounds

import pmalloc

cbor2 = pytest.importorskip("cbor2")


@rounds
def test_dumps_config(d):
    return cbor2.dumps(d.config)


@rounds
def test_dumps_records(d):
    return cbor2.dumps(d.records), cbor2.dumps(d.rows), cbor2.dumps(d.row)


@rounds
def test_dumps_canonical(d):
    return cbor2.dumps(d.config, canonical=True), cbor2.dumps([d.tags, d.members], canonical=True)


@rounds
def test_sets_come_back(d):
    return cbor2.loads(cbor2.dumps(d.tags)), cbor2.loads(cbor2.dumps(d.members))


@rounds
def test_dumps_shared_values(d):
    twice = [d.config, d.config, d.matrix, d.matrix]
    return cbor2.dumps(twice, value_sharing=True)


@rounds
def test_dumps_string_references(d):
    return cbor2.dumps(d.records, string_referencing=True)


@rounds
def test_dumps_scalars(d):
    return [cbor2.dumps(x) for x in (d.latin, d.astral, d.blob, d.big, d.mixed, *d.floats)]


@rounds
def test_tags_and_frozen_input(d):
    return cbor2.dumps(cbor2.CBORTag(4000, d.columns)), cbor2.loads(d.blob)


@rounds
def test_dumps_dates_and_numbers(d):
    values = [d.when, d.price, d.uid]
    return cbor2.dumps(values), cbor2.loads(cbor2.dumps(values))


@rounds
def test_dumps_instances_by_default(d):
    """A Fraction or an address is looked up by its exact type, so it is thawed."""

    def default(encoder, value):
        encoder.encode(pmalloc.thaw(value) if pmalloc.is_protected(value) else str(value))

    return cbor2.dumps([d.third, d.address, d.limit], default=default)

"""marshal: writes exact types only. Scalars and tuples pass, containers are thawed first."""

import marshal

import pytest
from _rounds import refused, rounds

import pmalloc


@pytest.mark.parametrize("part", ["config", "numbers", "tags"])
def test_refuses_subclasses(part):
    refused(lambda d: marshal.dumps(getattr(d, part)), ValueError, "unmarshallable object")


@rounds
def test_dumps_a_thawed_copy(d):
    return [marshal.loads(marshal.dumps(pmalloc.thaw(x))) for x in (d.config, d.numbers, d.tags)]


@rounds
def test_dumps_exact_types(d):
    values = (d.row, d.rows[0], d.members, d.text, d.latin, d.astral, d.blob, d.big, d.floats[2])
    return [marshal.loads(marshal.dumps(x)) for x in values], marshal.loads(marshal.dumps(values))


@rounds
def test_dumps_shallow_copies(d):
    """A plain container of frozen scalars is exact."""
    return [marshal.loads(marshal.dumps(x)) for x in (dict(d.strings), [*d.numbers], {*d.tags})]


@rounds
def test_old_formats(d):
    return [marshal.loads(marshal.dumps(d.row, version)) for version in range(5)]


@rounds
def test_loads_frozen_bytes(d):
    return marshal.loads(d.empty["blob"] + b"N"), marshal.loads(b"s\x40\0\0\0" + d.blob)

"""msgpack: subclasses of dict and list pass, unless it is told to be strict."""

import pytest
from _rounds import refused, rounds

import pmalloc

msgpack = pytest.importorskip("msgpack")


@rounds
def test_packb_config(d):
    return msgpack.packb(d.config)


@rounds
def test_packb_records(d):
    return msgpack.packb(d.records), msgpack.packb(d.matrix), msgpack.packb(d.strings)


@rounds
def test_packb_tuples_and_bytes(d):
    return msgpack.packb(d.row), msgpack.packb(d.rows), msgpack.packb(d.blob)


@rounds
def test_packb_sets_by_default(d):
    return msgpack.packb([d.tags, d.members], default=sorted)


@rounds
def test_packer_is_used_again(d):
    packer = msgpack.Packer(autoreset=False)
    for record in d.records:
        packer.pack(record)
    return packer.bytes()


@rounds
def test_unpackb_frozen_bytes(d):
    return msgpack.unpackb(d.blob[:1]), list(msgpack.Unpacker(None, max_buffer_size=99) or [])


@rounds
def test_unpacker_is_fed_frozen_bytes(d):
    unpacker = msgpack.Unpacker()
    unpacker.feed(d.blob)
    return list(unpacker)


@rounds
def test_ext_type(d):
    return msgpack.packb(msgpack.ExtType(7, d.blob))


def test_strict_types_refuses():
    refused(
        lambda d: msgpack.packb(d.config, strict_types=True),
        TypeError,
        "can not serialize 'pmalloc.FrozenDict' object",
    )


@rounds
def test_strict_types_with_thaw(d):
    return msgpack.packb([d.config, d.matrix], strict_types=True, default=pmalloc.thaw)


@rounds
def test_packb_dates(d):
    return msgpack.packb(d.when, datetime=True)


@rounds
def test_packb_instances_by_default(d):
    return msgpack.packb([d.services, d.price], default=str), msgpack.packb(d.point)

"""pyarrow: arrays and tables of frozen data; it does not guess the type of a frozen set."""

import pytest
from _rounds import refused, rounds

pa = pytest.importorskip("pyarrow")


def plain(result):
    if isinstance(result, (list, tuple)):
        return [plain(x) for x in result]
    if isinstance(result, (pa.Array, pa.Table, pa.RecordBatch)):
        return result.to_pylist()
    return result


arrays = rounds(answer=plain)


@arrays
def test_arrays(d):
    return [pa.array(x) for x in (d.numbers, d.floats, d.words, d.matrix)]


@arrays
def test_structs(d):
    return pa.array(d.records), pa.array([d.config, d.config])


@arrays
def test_typed_arrays(d):
    return (
        pa.array(d.numbers, type=pa.int64()),
        pa.array(d.matrix, type=pa.list_(pa.int32())),
        pa.array([d.strings], type=pa.map_(pa.string(), pa.string())),
        pa.array(d.records, type=pa.struct([("id", pa.int64()), ("city", pa.string())])),
        pa.array([d.latin, d.astral], type=pa.large_string()),
    )


@arrays
def test_bytes(d):
    return pa.array([d.blob, d.key]), pa.py_buffer(d.blob).to_pybytes()


@arrays
def test_tables(d):
    return pa.table(d.columns), pa.Table.from_pydict(d.columns), pa.Table.from_pylist(d.records)


@arrays
def test_scalars(d):
    values = (d.text, d.astral, d.pair[1], d.floats[0], d.config["limits"], d.matrix)
    return [pa.scalar(x).as_py() for x in values]


@arrays
def test_schema_metadata(d):
    schema = pa.schema([("id", pa.int64())], metadata=d.strings)
    return schema.metadata, schema.with_metadata(d.strings).field("id").with_metadata(
        d.strings
    ).metadata


@arrays
def test_selection(d):
    return TABLE.select(d.words[:2]), TABLE.take(d.numbers[4:5]), TABLE.rename_columns(d.words[2:])


TABLE = pa.table({"pear": [1, 2, 3], "apple": [4, 5, 6], "x": [7, 8, 9]})


def test_guessing_the_type_of_a_set_refuses():
    refused(
        lambda d: pa.array([d.tags]),
        pa.ArrowInvalid,
        "type pmalloc.FrozenSet: did not recognize Python value type",
    )


def test_a_set_with_its_type_told_refuses():
    refused(
        lambda d: pa.array([d.tags], type=pa.list_(pa.string())),
        pa.ArrowTypeError,
        "type pmalloc.FrozenSet: was not a sequence",
    )


@rounds
def test_a_set_as_a_list(d):
    return pa.array([sorted(d.tags)]).to_pylist()


@arrays
def test_dates_and_decimals(d):
    return [pa.array([x, x]) for x in (d.when, d.naive, d.day, d.clock, d.span, d.price)]

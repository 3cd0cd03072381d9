"""NumPy: makes arrays of frozen data, indexes by it and looks at frozen bytes."""

import pytest
from _rounds import rounds

np = pytest.importorskip("numpy")


@rounds
def test_arrays_of_numbers(d):
    return [np.array(x).tolist() for x in (d.numbers, d.floats, d.matrix)]


@rounds
def test_arrays_of_text_and_objects(d):
    return (
        np.array(d.words).tolist(),
        np.array([d.latin, d.astral]).tolist(),
        np.array(d.words, dtype=object).tolist(),
        np.asarray([d.config, d.tags], dtype=object).tolist(),
    )


@rounds
def test_record_arrays(d):
    array = np.array(d.rows, dtype="i4,U8,f8")
    return array.tolist(), array["f1"].tolist()


@rounds
def test_indexing_by_frozen_data(d):
    array = np.arange(100_000)
    return (
        array[d.numbers].tolist(),
        array[d.matrix].sum().item(),
        array.reshape(100, 1000)[tuple(d.matrix[0][:2])].item(),
        np.take(array, d.matrix[1]).tolist(),
    )


@rounds
def test_shapes_and_dtypes(d):
    return (
        np.zeros(d.matrix[0][:2]).shape,
        np.dtype({"names": d.words[:2], "formats": ["i4", "f8"]}).names,
        np.full((2,), d.floats[0]).tolist(),
    )


@rounds
def test_frozen_bytes_as_an_array(d):
    array = np.frombuffer(d.blob, dtype=np.uint8)
    return array.sum().item(), array[::-1].tolist(), array.flags.writeable


# Seven calls that read 6 numbers each: at least 40 frozen objects a round.
@rounds(count=4_000)
def test_functions(d):
    return (
        np.isin(d.numbers, d.matrix[0]).tolist(),
        np.unique(d.words).tolist(),
        np.searchsorted(np.arange(9), d.numbers).tolist(),
        np.sort(d.numbers).tolist(),
        np.concatenate([d.numbers, d.matrix[0]]).tolist(),
        np.stack(d.matrix).T.tolist(),
        np.dot(d.matrix, d.matrix[0]).tolist(),
    )


@rounds
def test_assigning_from_frozen_data(d):
    array = np.zeros((3, 3), dtype=int)
    array[:] = d.matrix
    array[0] += d.matrix[1]
    array.flat = [*d.numbers, 1, 2, 3]
    return array.tolist()


@rounds
def test_iterating_over_frozen_data(d):
    return (
        np.fromiter(d.numbers, dtype=int).tolist(),
        np.fromiter(d.columns["x"], float).sum().item(),
        sorted(np.array([*d.tags]).tolist()),
        np.char.upper(d.words).tolist(),
    )


@rounds
def test_scalars(d):
    return np.float64(d.floats[1]).item(), np.int64(d.pair[1]).item(), np.str_(d.astral).item()


@rounds
def test_dates_and_decimals(d):
    return (
        np.array([d.naive], dtype="datetime64[us]").tolist(),
        np.array([d.day], dtype="datetime64[D]").tolist(),
        np.array([d.span], dtype="timedelta64[s]").tolist(),
        np.array([d.price, d.price], dtype=object).sum(),
        np.datetime64(d.naive).item(),
    )

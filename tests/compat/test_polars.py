"""polars: frames and series of frozen data. Its threads start in the child."""

import pytest
from _rounds import rounds

pl = pytest.importorskip("polars")


def plain(result):
    """Frames as lists of dicts."""
    if isinstance(result, (list, tuple)):
        return [plain(x) for x in result]
    if isinstance(result, pl.DataFrame):
        return result.to_dicts()
    return result.to_list() if isinstance(result, pl.Series) else result


# A frame takes up to 200 us; a round reads at least 12 frozen objects.
frames = rounds(count=2_000, answer=plain)


@frames
def test_frame_of_columns(d):
    return pl.DataFrame(d.columns)


@frames
def test_frame_of_records(d):
    return pl.DataFrame(d.records), pl.from_dicts(d.records)


@frames
def test_frame_of_rows(d):
    return pl.DataFrame(d.rows, schema=["a", "b", "c"], orient="row"), pl.DataFrame(d.matrix)


@frames
def test_series(d):
    return [pl.Series("x", x) for x in (d.numbers, d.floats, d.words, d.matrix, d.records)]


@frames
def test_series_of_text_and_bytes(d):
    return pl.Series("x", [d.latin, d.astral, *d.words]), pl.Series("x", [d.blob, d.key])


@frames
def test_series_of_objects(d):
    series = pl.Series("x", [d.tags, d.config, d.row], dtype=pl.Object)
    return len(series), series[1]["limits"]


@frames
def test_is_in(d):
    words = pl.Series("x", ["pear", "one", "red", "alice"])
    return words.is_in(d.words), words.is_in(d.tags), words.is_in(d.members)


@frames
def test_replace(d):
    return pl.Series("x", ["pear", "one", "stadt"]).replace(d.strings)


@frames
def test_literals(d):
    return pl.select(
        a=pl.lit(d.numbers), b=pl.lit(d.text), c=pl.lit(d.blob), d=pl.lit(d.pair[1]), e=d.floats[0]
    )


@frames
def test_selection(d):
    frame = pl.DataFrame({word: [1, 2, 3] for word in d.words})
    return frame.select(d.words[:2]), frame.drop(d.words[1:]), frame.rename({"fig": d.latin})


@frames
def test_filters(d):
    frame = pl.DataFrame(d.records)
    return frame.filter(pl.col("id") > d.numbers[1], pl.col("city") == d.records[0]["city"])


@frames
def test_out_again(d):
    frame = pl.DataFrame(d.columns)
    return frame.write_json(), frame.write_csv(), frame.rows()


@frames
def test_dates_and_instances(d):
    series = [pl.Series("x", [x, x]) for x in (d.when, d.naive, d.day, d.clock, d.span, d.price)]
    return series, pl.DataFrame(d.points), pl.DataFrame([d.limit, d.limit])

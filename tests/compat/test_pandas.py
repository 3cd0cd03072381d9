"""pandas: frames and series of frozen data, and frozen data as arguments.

Making a frame takes from 100 us to a millisecond, so there are fewer rounds: 2,000 that read at
least 12 frozen objects each, or 300 that read at least 120.
"""

import pytest
from _rounds import rounds

pd = pytest.importorskip("pandas")


def plain(result):
    """Frames as dicts."""
    if isinstance(result, (list, tuple)):
        return [plain(x) for x in result]
    return result.to_dict() if isinstance(result, (pd.DataFrame, pd.Series)) else result


frames = rounds(count=2_000, answer=plain)
longer = rounds(count=300, answer=plain)


@frames
def test_frame_of_columns(d):
    return pd.DataFrame(d.columns)


@frames
def test_frame_of_records(d):
    return pd.DataFrame(d.records), pd.DataFrame.from_records(d.records, index="id")


@frames
def test_frame_of_rows(d):
    return pd.DataFrame(d.rows, columns=d.words[:3]), pd.DataFrame(d.matrix)


@frames
def test_series(d):
    return [pd.Series(x) for x in (d.numbers, d.words, d.strings, d.row, d.records)]


@frames
def test_series_of_objects(d):
    series = pd.Series([d.config, d.tags, d.matrix], dtype=object)
    return series.map(len), series[0]["limits"]


@frames
def test_json_normalize(d):
    return pd.json_normalize(d.config), pd.json_normalize(d.records)


@longer
def test_isin_and_map(d):
    words = pd.Series(["name-3", "name-4", "red", "alice"])
    return (
        words.isin(d.long["name"]),
        words.isin(d.tags),
        words.isin(d.members),
        words.map(d.codes),
    )


@longer
def test_replace_and_rename(d):
    frame = pd.DataFrame({"name-1": ["name-3", "other"], "two": [1, 2]})
    return frame.rename(columns=d.codes), frame["name-1"].replace(d.codes)


@longer
def test_selection(d):
    frame = pd.DataFrame(dict.fromkeys(d.long["name"], 1), index=d.long["id"])
    return (
        frame[d.long["name"]].iloc[0],
        frame.loc[d.long["id"], "name-7"],
        frame.drop(columns=d.long["name"][1:]),
    )


@longer
def test_index_and_categories(d):
    index = pd.Index(d.long["name"])
    return (
        index.get_indexer(d.long["name"]).tolist(),
        list(pd.Categorical(d.long["name"], categories=sorted(d.long["name"])).codes),
        pd.MultiIndex.from_tuples(d.rows).tolist(),
        index.union(d.words).tolist(),
    )


@longer
def test_aggregation(d):
    frame = pd.DataFrame(d.long)
    return frame.groupby("name")["x"].sum(), frame.astype({"id": "float"})["id"].mean()


@longer
def test_out_again(d):
    frame = pd.DataFrame(d.long)
    return frame.to_json(), frame.to_csv(), frame.to_dict("records")


@rounds
def test_timestamps_of_frozen_text(d):
    return pd.Timestamp(2026, 1, d.numbers[0]), pd.isna(d.row[3]), pd.isna(d.text)


@rounds
def test_looking_up_frozen_values(d):
    return SERIES.get(d.words[0]), SERIES.get(d.latin), d.words[1] in SERIES.index


SERIES = pd.Series({"pear": 1, "apple": 2})


@frames
def test_dates_and_instances(d):
    series = [pd.Series([x, x]).tolist() for x in (d.when, d.naive, d.day, d.span, d.price, d.uid)]
    frame = pd.DataFrame(d.points)
    return series, list(frame.columns), frame, pd.DataFrame(d.services)["name"].tolist()


@rounds
def test_timestamps(d):
    return pd.Timestamp(d.when), pd.Timedelta(d.span), pd.Timestamp(d.day) < d.naive

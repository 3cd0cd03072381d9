"""csv: frozen rows, records and field names."""

import csv
import io

from _rounds import rounds


@rounds
def test_rows(d):
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerows(d.rows)
    writer.writerows(d.matrix)
    writer.writerow(d.words)
    return out.getvalue()


@rounds
def test_records(d):
    out = io.StringIO()
    writer = csv.DictWriter(out, d.headings, extrasaction="ignore", restval="?")
    writer.writeheader()
    writer.writerows(d.records)
    return out.getvalue()


@rounds
def test_quoting(d):
    out = io.StringIO()
    for quoting in (csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC, csv.QUOTE_MINIMAL):
        csv.writer(out, quoting=quoting).writerow(d.row[:4])
    return out.getvalue()


@rounds
def test_reading_frozen_lines(d):
    return list(csv.reader(d.lines)), list(csv.DictReader(d.lines, fieldnames=d.headings))


@rounds
def test_dialects(d):
    writer = csv.writer(io.StringIO(), **d.dialect)
    return list(csv.reader(d.lines, **d.dialect)), writer.dialect.delimiter


@rounds
def test_sets_and_dicts_as_rows(d):
    out = io.StringIO()
    csv.writer(out).writerow(sorted(d.tags))
    csv.writer(out).writerow(d.strings)
    csv.writer(out).writerow(d.strings.values())
    return out.getvalue()


@rounds
def test_sniffing(d):
    return csv.Sniffer().sniff(d.lines[0], delimiters=d.dialect["delimiter"]).delimiter


@rounds
def test_named_tuples_and_dates(d):
    out = io.StringIO()
    csv.writer(out).writerows(d.points)
    csv.writer(out).writerow([d.when, d.day, d.price, d.uid, d.third, d.address])
    return out.getvalue()

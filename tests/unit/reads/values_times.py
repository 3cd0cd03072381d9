"""Dates, times and differences, with and without zones."""
# Every way to spell a reading is wanted here, the old ones too.
# ruff: noqa: DTZ001, DTZ007

import calendar
import copy
import json
import pickle
import sys
import zoneinfo
from datetime import UTC, date, datetime, time, timedelta, timezone

from .families import Family

try:
    ZURICH = zoneinfo.ZoneInfo("Europe/Zurich")
except zoneinfo.ZoneInfoNotFoundError:  # a system without the time zone database
    ZURICH = timezone(timedelta(hours=1), "Europe/Zurich")


class Stamp(datetime):
    """A subclass of the user's."""


def make():
    return {
        "one": datetime(2026, 2, 28, 12, 30, 15, 250),
        "equal": datetime(2026, 2, 28, 12, 30, 15, 250),
        "other": datetime(2030, 1, 1),
        "aware": datetime(2026, 2, 28, 12, 30, tzinfo=UTC),
        "offset": datetime(2026, 2, 28, 14, 30, tzinfo=timezone(timedelta(hours=2), "EET")),
        "zurich": datetime(2026, 7, 1, 14, 30, tzinfo=ZURICH),
        "fold": datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZURICH),
        "day": date(2026, 2, 28),
        "last": date(2026, 12, 31),
        "clock": time(23, 59, 58, 7),
        "clock_utc": time(1, 2, 3, tzinfo=UTC),
        "span": timedelta(days=3, hours=5, microseconds=7),
        "negative": timedelta(seconds=-1),
        "days": [date(2026, 3, 1), date(2025, 3, 1), date(2027, 3, 1)],
        "keys": {date(2026, 2, 28): "day", datetime(2026, 2, 28, 12, 30, tzinfo=UTC): "aware"},
        "members": {timedelta(1), time(1, 2), date(2026, 2, 28)},
    }


family = Family("dates and times", make)
read = family.read

family.reads(
    exact_types=lambda d: (type(d.one), type(d.day), type(d.clock), type(d.span)),
    parts=lambda d: (d.one.year, d.one.month, d.one.day, d.one.hour, d.one.microsecond),
    parts_of_date=lambda d: (d.day.year, d.day.month, d.day.day),
    parts_of_time=lambda d: (d.clock.hour, d.clock.second, d.clock.tzinfo, d.clock.fold),
    parts_of_delta=lambda d: (d.span.days, d.span.seconds, d.span.microseconds),
    total_seconds=lambda d: (d.span.total_seconds(), d.negative.total_seconds()),
    zone=lambda d: (d.aware.tzinfo is UTC, d.zurich.tzinfo is ZURICH),
    zone_name=lambda d: (d.aware.tzname(), d.zurich.tzname(), d.offset.tzname()),
    utc_offset=lambda d: (d.aware.utcoffset(), d.zurich.utcoffset(), d.one.utcoffset()),
    daylight=lambda d: (d.zurich.dst(), d.aware.dst()),
    fold=lambda d: (d.fold.fold, d.fold.utcoffset(), d.one.fold),
    as_zone=lambda d: (d.aware.astimezone(ZURICH), d.zurich.astimezone(UTC)),
    date_of=lambda d: (d.one.date(), d.one.time(), d.zurich.timetz()),
    weekday=lambda d: (d.day.weekday(), d.one.isoweekday(), d.last.isocalendar()),
    ordinal=lambda d: (d.day.toordinal(), date.fromordinal(d.day.toordinal()) == d.day),
    timestamp=lambda d: (d.aware.timestamp(), d.zurich.timestamp()),
    time_tuple=lambda d: (d.one.timetuple(), d.zurich.utctimetuple()),
    iso=lambda d: (d.one.isoformat(), d.day.isoformat(), d.clock.isoformat("minutes")),
    iso_aware=lambda d: (d.aware.isoformat(" "), d.zurich.isoformat(), d.clock_utc.isoformat()),
    strftime=lambda d: (d.one.strftime("%Y/%m/%d %H:%M"), d.day.strftime("%j")),
    formatted=lambda d: (f"{d.one:%d.%m.%Y}", f"{d.clock:%H}", format(d.day, "%y")),
    c_time=lambda d: (d.one.ctime(), d.day.ctime()),
    represented=lambda d: (repr(d.one), repr(d.day), repr(d.clock), repr(d.span)),
    text=lambda d: (str(d.one), str(d.aware), str(d.span), str(d.negative)),
    equality=lambda d: (d.one == d.equal, d.one != d.equal, d.one == d.other, d.one == 5),
    equality_aware=lambda d: (d.aware == d.offset, d.aware == d.zurich, d.one == d.aware),
    order=lambda d: (d.one < d.other, d.aware <= d.offset, d.clock > time(1), d.span > d.negative),
    order_with_plain=lambda d: (d.day < date(2030, 1, 1), date(2030, 1, 1) > d.day),
    hashed=lambda d: (hash(d.one) == hash(d.equal), hash(d.day) == hash(date(2026, 2, 28))),
    hashed_aware=lambda d: (hash(d.aware) == hash(d.offset), hash(d.zurich) == hash(d.zurich)),
    hashed_others=lambda d: (hash(d.span) == hash(d.span + timedelta(0)), hash(d.clock_utc) != 0),
    as_key=lambda d: (d.keys[date(2026, 2, 28)], d.keys[d.day], d.keys[d.offset]),
    as_member=lambda d: (d.day in d.members, timedelta(days=1) in d.members, d.span in d.members),
    as_new_key=lambda d: {d.one: 1, d.span: 2}[d.equal],
    difference=lambda d: (d.other - d.one, d.day - d.last, d.aware - d.zurich),
    sum_=lambda d: (d.one + d.span, d.day + timedelta(30), d.span + d.span),
    arithmetic=lambda d: (d.span * 2, d.span / 3, d.span // 2, -d.span, abs(d.negative)),
    division=lambda d: (d.span / d.negative, d.span % timedelta(1), divmod(d.span, timedelta(1))),
    truth=lambda d: (bool(d.span), bool(d.clock), bool(d.negative)),
    replaced=lambda d: (d.one.replace(year=2000), d.day.replace(day=1), d.clock.replace(hour=1)),
    replaced_zone=lambda d: d.zurich.replace(tzinfo=None),
    combined=lambda d: datetime.combine(d.day, d.clock),
    parsed_back=lambda d: datetime.fromisoformat(d.one.isoformat()) == d.one,
    largest=lambda d: (max(d.days), min(d.days), sorted(d.days)),
    isinstance_of=lambda d: (isinstance(d.one, date), isinstance(d.day, datetime)),
    limits=lambda d: (d.one.max.year, d.day.min.year, d.span.resolution),
    month=lambda d: calendar.monthrange(d.day.year, d.day.month),
    json_default=lambda d: json.dumps(d.day, default=str),
    copied=lambda d: (copy.copy(d.one), copy.copy(d.zurich), copy.copy(d.span)),
)
family.heavy(
    strptime=lambda d: datetime.strptime("2026", "%Y").year + d.one.year,
    deeply_copied=lambda d: copy.deepcopy([d.one, d.span, d.clock_utc]),
    pickled=lambda d: pickle.loads(pickle.dumps([d.one, d.day, d.clock, d.span, d.aware])),
    pickled_zone=lambda d: pickle.loads(pickle.dumps(d.zurich, 2)),
)
if sys.version_info >= (3, 13):
    family.reads(copy_replace=lambda d: copy.replace(d.day, year=1999))


@read
def matched(d):
    match d.one:
        case datetime(year=2026, month=m):
            return m
    return None


@read
def attribute_loop(d):
    total = 0
    for day in d.days:
        total += day.year
    return total

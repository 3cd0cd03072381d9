"""Decimal, Fraction."""

import copy
import decimal
import fractions
import json
import math
import numbers
import operator
import pickle
import statistics
from decimal import Decimal
from fractions import Fraction

from .families import Family, instances


def make_decimals():
    return {
        "one": Decimal("1234.5678"),
        "equal": Decimal("1234.5678"),
        "other": Decimal("-0.00000123"),
        "long": Decimal("9" * 60 + "." + "1" * 60),
        "very_long": Decimal("7" * 400),
        "zero": Decimal("-0"),
        "inf": Decimal("Infinity"),
        "nan": Decimal("NaN"),
        "whole": Decimal("1E+5"),
        "several": [Decimal("2.5"), Decimal("1.5"), Decimal("3.5")],
        "keys": {Decimal("1.5"): "dec", 7: "int"},
        "members": {Decimal("1.50"), Decimal(3)},
    }


family = Family("Decimal", make_decimals)
read = family.read
CONTEXT = decimal.Context(prec=9)

family.reads(
    exact_type=lambda d: type(d.one) is Decimal,
    text=lambda d: (str(d.one), str(d.other), str(d.whole), str(d.zero)),
    represented=lambda d: (repr(d.one), repr(d.nan), repr(d.inf)),
    text_of_long=lambda d: (str(d.long), len(str(d.very_long))),
    engineering=lambda d: (d.one.to_eng_string(), d.whole.to_eng_string()),
    formatted=lambda d: (f"{d.one:.2f}", f"{d.one:>12,.1f}", format(d.whole, "e")),
    added=lambda d: (d.one + d.equal, d.one + 1, 1 + d.one),
    subtracted=lambda d: (d.one - d.other, d.one - 1000),
    multiplied=lambda d: (d.one * d.other, d.long * 2, d.very_long * d.very_long),
    divided=lambda d: (d.one / 3, d.one // 7, d.one % 7, divmod(d.one, 100)),
    powers=lambda d: (d.one**2, d.several[0].sqrt()),
    negative=lambda d: (-d.one, +d.other, abs(d.other)),
    rounded=lambda d: (round(d.one, 2), round(d.one), math.floor(d.one), math.ceil(d.one)),
    converted=lambda d: (int(d.one), float(d.one), complex(d.one), math.trunc(d.other)),
    long_converted=lambda d: int(d.very_long),
    quantized=lambda d: d.one.quantize(Decimal("0.1"), rounding=decimal.ROUND_DOWN),
    normalized=lambda d: (d.whole.normalize(), d.one.normalize()),
    parts=lambda d: (d.one.as_tuple(), d.whole.as_tuple().exponent),
    ratio=lambda d: (d.one.as_integer_ratio(), Fraction(d.one)),
    adjusted=lambda d: (d.one.adjusted(), d.other.adjusted(), d.whole.logb()),
    properties=lambda d: (d.one.real, d.one.imag, d.one.conjugate()),
    classes=lambda d: (d.one.number_class(), d.inf.is_infinite(), d.zero.is_signed()),
    nans=lambda d: (d.nan.is_nan(), d.nan == d.nan, d.nan != d.nan),
    equality=lambda d: (d.one == d.equal, d.one != d.equal, d.one == d.other, d.whole == 100_000),
    equality_of_float=lambda d: (d.several[0] == 2.5, 2.5 == d.several[0], d.one == Fraction(1, 3)),
    order=lambda d: (d.one > d.other, d.one <= d.equal, 5 < d.one, d.inf > d.very_long),
    compared=lambda d: (d.one.compare(d.other), d.one.compare_total(d.equal), d.one.max(d.other)),
    hashed=lambda d: (hash(d.one) == hash(d.equal), hash(d.whole) == hash(100_000)),
    hashed_long=lambda d: (hash(d.long) == hash(d.long * 1), hash(d.very_long), hash(d.inf)),
    as_key=lambda d: (d.keys[Decimal("1.5")], d.keys[d.several[1]], d.keys.get(d.one)),
    as_member=lambda d: (d.several[1] in d.members, Decimal("3.0") in d.members, 3 in d.members),
    as_new_key=lambda d: {d.one: 1}[d.equal],
    truth=lambda d: (bool(d.one), bool(d.zero), not d.zero),
    sums=lambda d: (sum(d.several), max(d.several), sorted(d.several)),
    context=lambda d: (CONTEXT.multiply(d.one, d.one), CONTEXT.create_decimal(d.long)),
    unary_context=lambda d: (CONTEXT.plus(d.long), CONTEXT.to_sci_string(d.long)),
    digits=lambda d: (d.one.shift(1), d.one.scaleb(2), d.one.next_plus(CONTEXT)),
    signs=lambda d: (d.one.copy_sign(d.other), d.one.copy_negate(), d.other.copy_abs()),
    isinstance_of=lambda d: isinstance(d.one, numbers.Number),
    new_from_it=lambda d: (Decimal(d.one), Decimal(d.one) == d.one),
    json_default=lambda d: json.dumps([d.one], default=str),
    copied=lambda d: (copy.copy(d.one), copy.copy(d.long)),
)
family.heavy(
    deeply_copied=lambda d: copy.deepcopy([d.one, d.very_long]),
    pickled=lambda d: pickle.loads(pickle.dumps([d.one, d.long, d.inf])),
    mean=lambda d: statistics.mean(d.several),
)


@read
def matched(d):
    match d.one:
        case Decimal(real=r):
            return r
    return None


@read
def added_in_place(d):
    total = d.one
    total += 1
    total *= d.one
    return total, d.one


# ---- Fraction ---------------------------------------------------------------------------------


def make_fractions():
    return {
        "one": Fraction(355, 113),
        "equal": Fraction(710, 226),
        "other": Fraction(-1, 3),
        "whole": Fraction(7000),
        "huge": Fraction(3**200, 2**300),
        "several": [Fraction(1, 2), Fraction(1, 3), Fraction(2, 3)],
        "keys": {Fraction(1, 2): "half", Fraction(7): "seven"},
        "members": {Fraction(1, 2), Fraction(5, 7)},
    }


family = Family("Fraction", make_fractions)
instances(family, Fraction, lambda o: (o.numerator, o.denominator), "numerator")
family.reads(
    parts=lambda d: (d.one.numerator, d.one.denominator, d.huge.denominator),
    text=lambda d: (str(d.one), repr(d.one), str(d.whole), f"{d.other}"),
    formatted=lambda d: (f"{d.one:.3f}", f"{d.one:>10.2e}"),
    added=lambda d: (d.one + d.other, d.one + 1, 1 + d.one, d.one + 0.5),
    subtracted=lambda d: (d.one - d.other, 1 - d.one),
    multiplied=lambda d: (d.one * d.other, 2 * d.one, d.huge * d.huge),
    divided=lambda d: (d.one / d.other, 1 / d.one, d.one // 1, d.one % 1, divmod(d.one, 1)),
    powers=lambda d: (d.one**2, d.other**-1, 2 ** d.whole.numerator.bit_length()),
    negative=lambda d: (-d.one, +d.one, abs(d.other)),
    rounded=lambda d: (round(d.one, 2), round(d.one), math.floor(d.one), math.ceil(d.one)),
    converted=lambda d: (int(d.one), float(d.one), math.trunc(d.other)),
    ratio=lambda d: (d.one.as_integer_ratio(), d.whole.is_integer()),
    limited=lambda d: d.one.limit_denominator(10),
    properties=lambda d: (d.one.real, d.one.imag, d.one.conjugate()),
    equality=lambda d: (d.one == d.equal, d.one != d.equal, d.one == d.other, d.whole == 7000),
    equality_of_plain=lambda d: (Fraction(355, 113) == d.one, d.several[0] == 0.5),
    order=lambda d: (d.one > d.other, d.one <= d.equal, d.one < 5, d.other < 0.5),
    hashed=lambda d: (hash(d.one) == hash(d.equal), hash(d.whole) == hash(7000)),
    as_key=lambda d: (d.keys[d.several[0]], d.keys[Fraction(1, 2)], d.keys[7], d.keys[0.5]),
    as_member=lambda d: (d.several[0] in d.members, Fraction(10, 14) in d.members),
    sums=lambda d: (sum(d.several), max(d.several), sorted(d.several)),
    several_attributes=lambda d: operator.attrgetter("numerator", "denominator")(d.one),
    isinstance_of_abc=lambda d: (
        isinstance(d.one, numbers.Rational),
        isinstance(d.one, numbers.Integral),
    ),
    new_from_it=lambda d: (Fraction(d.one), fractions.Fraction(d.one, 2)),
    decimal_of=lambda d: Decimal(d.one.numerator) / d.one.denominator,
    math_of=lambda d: (math.sqrt(d.one), math.isclose(d.one, math.pi, rel_tol=1e-6)),
)


@family.read
def added_fraction_in_place(d):
    total = d.one
    total += 1
    return total, d.one

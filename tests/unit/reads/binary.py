"""Reading bytes, numbers and ranges."""
# Every way to spell a reading is wanted here, the old ones too.

import base64
import cmath
import ctypes
import decimal
import fractions
import hashlib
import hmac
import io
import math
import struct
import zlib

from .data import OTHER, read


@read
def bytes_index_slice(d):
    return d.blob[5], d.blob[-1], d.blob[10:14], d.line[::-1], len(d.blob), list(d.line)


@read
def bytes_hash_compare(d):
    return hash(d.blob), d.blob == OTHER.blob, d.line < d.blob, d.line == bytearray(d.line)


@read
def bytes_methods(d):
    return (
        d.line.split(),
        d.line.strip(),
        d.line.upper(),
        d.line.find(b"HTTP"),
        d.line.replace(b"G", b"g"),
    )


@read
def bytes_concatenate(d):
    line = d.line
    line += b"more"
    return line, d.line + d.blob[:3], b"-".join([d.line, d.line]), d.line * 2


@read
def bytes_decode(d):
    return d.line.decode(), d.blob.decode("latin-1"), str(d.line, "ascii"), d.line.hex(" ")


@read
def bytes_views(d):
    view = memoryview(d.blob)
    return view[3], view[5:9].tobytes(), view.readonly, hash(view), view.cast("H")[1]


@read
def bytes_to_mutable(d):
    mutable = bytearray(d.line)
    mutable[0] = 0
    mutable += d.line
    return mutable, bytes(d.small), bytes(d.line)


@read
def bytes_streams(d):
    stream = io.BytesIO(d.line)
    stream.seek(0)
    stream.write(b"PUT")
    return stream.getvalue(), io.BytesIO(d.blob).read(3), io.BytesIO(d.line).getbuffer()[0]


@read
def bytes_hashes(d):
    return (
        hashlib.sha256(d.blob).digest(),
        zlib.crc32(d.blob),
        hmac.digest(d.line, d.blob, "sha256"),
    )


@read
def bytes_compress(d):
    return zlib.decompress(zlib.compress(d.line, 1)), base64.b64encode(d.blob[:9])


@read
def bytes_percent(d):
    return b"%s %d" % (d.line, d.three), b"%b" % d.line


@read
def bytes_ctypes(d):
    return (
        ctypes.c_char_p(d.line).value,
        ctypes.string_at(d.line, 3),
        ctypes.create_string_buffer(d.line).raw,
    )


@read
def int_arithmetic(d):
    return d.three + 1, d.three - 2, d.three * 3, d.three // 4, d.three % 5, -d.three, d.three / 2


@read
def int_big_arithmetic(d):
    big = d.big
    return (
        big + 1,
        big * big,
        big // 7,
        big % 1000,
        -big,
        big + d.negative,
        big - big,
        abs(d.negative),
    )


@read
def int_big_bits(d):
    return (
        d.big >> 5,
        d.big << 70,
        d.big & 0xFFFF,
        d.big | 1,
        d.big ^ d.negative,
        ~d.big,
        d.big.bit_count(),
    )


@read
def int_power(d):
    return (
        d.three**2,
        pow(d.big, 3, 1009),
        pow(2, d.small[3]),
        math.isqrt(d.big),
        math.gcd(d.big, 27),
    )


@read
def int_compare_hash(d):
    return (
        d.big == 3**200,
        d.big > d.negative,
        hash(d.big),
        hash(d.three),
        d.three == 1103.0,
        bool(d.big),
    )


@read
def int_augmented(d):
    total = d.three
    total += d.three
    total *= 2
    big = d.big
    big += d.big
    big -= 1
    return total, big


@read
def int_text(d):
    return str(d.three), repr(d.big), hex(d.big), f"{d.three:,}", format(d.big, "x"), oct(d.three)


@read
def int_bytes(d):
    return d.big.to_bytes(60, "big"), int.from_bytes(d.blob[:9]), d.three.bit_length()


@read
def int_as_index(d):
    return (
        d.words[d.small[1]],
        d.text[d.small[1] : d.small[3]],
        "x" * d.small[1],
        range(d.three)[-1],
    )


@read
def int_convert(d):
    return (
        float(d.three),
        complex(d.three),
        int(d.three),
        math.sqrt(d.three),
        d.three.as_integer_ratio(),
    )


@read
def int_struct(d):
    return struct.pack("<iq", d.three, d.numbers[3]), struct.pack("d", d.ratio), divmod(d.three, 7)


@read
def float_arithmetic(d):
    return (
        d.ratio + 1,
        d.ratio * d.ratio,
        d.ratio / 3,
        -d.ratio,
        d.ratio**2,
        d.ratio // 1,
        d.ratio % 1,
    )


@read
def float_methods(d):
    return (
        d.ratio.hex(),
        d.ratio.is_integer(),
        d.ratio.as_integer_ratio(),
        round(d.ratio),
        hash(d.ratio),
    )


@read
def float_compare(d):
    return d.ratio == 2.5, d.ratio < 3, d.ratio >= d.floats[0], min(d.floats), math.floor(d.ratio)


@read
def float_augmented(d):
    total = d.ratio
    total += d.ratio
    total *= d.floats[0]
    return total, str(d.ratio), f"{d.ratio:.3e}", math.sin(d.ratio)


@read
def complex_arithmetic(d):
    return (
        d.z + 1,
        d.z * d.z,
        d.z.conjugate(),
        abs(d.z),
        d.z.real,
        hash(d.z),
        repr(d.z),
        cmath.phase(d.z),
    )


@read
def decimal_and_fraction(d):
    return (
        decimal.Decimal(d.number_text) + 1,
        decimal.Decimal(d.three),
        fractions.Fraction(d.three, 6),
    )


@read
def range_basics(d):
    return (
        len(d.span),
        d.span[5],
        d.span[-1],
        10 in d.span,
        11 in d.span,
        d.span.index(17),
        d.span.count(3),
    )


@read
def range_slices(d):
    return d.span[1:4], d.span[::-1], d.span.start, d.span.stop, d.span.step, d.span[2:2]


@read
def range_iterate(d):
    return list(d.span[:9]), sum(d.huge_span), list(reversed(d.huge_span)), next(iter(d.span))


@read
def range_compare_hash(d):
    return (
        d.span == OTHER.span,
        hash(d.span),
        hash(d.huge_span),
        repr(d.huge_span),
        len(d.huge_span),
    )

"""Readings that only newer Pythons know. What older ones cannot parse is handed to eval()."""

import functools
import heapq
import math
import operator
import re
import struct
import sys
import unicodedata
from datetime import date

from .data import read

if sys.version_info >= (3, 14):
    import string.templatelib as templatelib

    import annotationlib

    TEMPLATE = eval("lambda d: t'{d.text}: {d.config!r:>{len(d.row)}} {d.members} {d.z:.1f}'")

    @read
    def template_strings(d):
        template = TEMPLATE(d)
        return (
            [part if isinstance(part, str) else part.value for part in template],
            [
                (part.expression, part.conversion, part.format_spec)
                for part in template.interpolations
            ],
            template.strings,
            isinstance(template + template, templatelib.Template),
            templatelib.convert(d.identifier, "r"),
        )

    @read
    def annotations_with_frozen_values(d):
        def function(a: d.config, b: d.row) -> d.text: ...

        return (
            annotationlib.get_annotations(function),
            annotationlib.get_annotations(function, format=annotationlib.Format.STRING),
            function.__annotate__(1)["a"] is d.config,
        )

    @read
    def functools_placeholder(d):
        return (
            functools.partial(operator.getitem, functools.Placeholder, "port")(d.config),
            functools.partial(max, functools.Placeholder, *d.small)(d.three),
        )

    @read
    def map_strict(d):
        return list(map(operator.mul, d.words, d.small, strict=True))

    @read
    def heaps_of_the_greatest(d):
        heap = list(d.small)
        heapq.heapify_max(heap)
        heapq.heappush_max(heap, d.small[2])
        return heap, heapq.nlargest(2, d.words), list(heapq.merge(d.rows[:1], d.rows[2:]))

    @read
    def numbers_from_numbers(d):
        return float.from_number(d.three), float.from_number(d.big >> 200), complex.from_number(d.z)

    @read
    def complex_in_a_struct(d):
        return struct.pack("<Dd", d.z, d.ratio)

    @read
    def bytes_fromhex_of_bytes(d):
        return bytes.fromhex(d.blob.hex().encode()) == d.blob

    @read
    def date_strptime(d):
        return date.strptime(d.when[:10], "%Y-%m-%d")

    @read
    def memoryview_counts(d):
        view = memoryview(d.blob)
        return view.count(7), view.index(200 - 1), d.blob.count(b"\x07")

    @read
    def borrowed_locals(d):
        """Locals that are loaded without a reference count of their own."""
        row, words, total = d.row, d.words, 0
        for item in row:
            inner = item
            total += inner is row[0]
        other = row if total else words
        return total, other[0], [other, words][1][2], (lambda: other)()[1]

    @read
    def superinstructions_on_strings(d):
        text, letters = d.text, ""
        for i in range(8):
            letters += text[i]
        return letters, d.latin[1], d.bmp[2], d.astral[2]


if sys.version_info >= (3, 15):
    FLAT = eval(
        "lambda rows: ([*row for row in rows], {*row for row in rows}, list((*r for r in rows)))"
    )
    MERGED = eval("lambda dicts: {**one for one in dicts}")

    @read
    def unpacking_comprehensions(d):
        return FLAT(d.matrix), MERGED([d.kwargs, d.records[1]])

    @read
    def frozendicts(d):
        built = frozendict(d.kwargs)  # noqa: F821
        return (
            built == d.kwargs,
            d.kwargs == built,
            hash(built),
            built | d.config,
            d.config | built,
            frozendict(d.pair for _ in "x"),  # noqa: F821
            {built: d.row}[frozendict(d.kwargs)],  # noqa: F821
            frozendict(d.wide)["key-7"],  # noqa: F821
        )

    @read
    def lazy_imports_by_a_frozen_list(d):
        space = {"__lazy_modules__": d.modules, "__name__": "lazy", "__builtins__": __builtins__}
        exec("import math\nanswer = math.floor(2.5)", space)
        return space["answer"], "math" in d.modules

    @read
    def bytearrays_that_are_taken(d):
        buffer = bytearray(d.line)
        return buffer.take_bytes(4), bytes(buffer), buffer.take_bytes()

    @read
    def integers_of_math(d):
        return math.integer.gcd(d.three, d.numbers[1]), math.integer.isqrt(d.big)

    @read
    def graphemes(d):
        return [str(cluster) for cluster in unicodedata.iter_graphemes(d.astral)]

    @read
    def prefixmatch(d):
        found = re.prefixmatch(d.pattern, d.text)
        return found and found.groupdict()

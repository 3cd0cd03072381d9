"""Reading by the tools of the standard library, and NumPy."""
# Every way to spell a reading is wanted here, the old ones too.

import array
import bisect
import collections
import functools
import heapq
import itertools
import logging
import operator
import random
import statistics
from datetime import UTC, datetime

from .data import read


@read
def operators(d):
    return (
        operator.itemgetter("port", "name")(d.config),
        operator.itemgetter(*d.small[:1])(d.words),
        operator.methodcaller("count", 7)(d.small),
        operator.attrgetter("real")(d.z),
        operator.contains(d.words, "fig"),
        operator.getitem(d.matrix, 1),
    )


@read
def functools_reduce(d):
    return functools.reduce(operator.add, d.small), functools.reduce(operator.mul, d.numbers[:3], 1)


@read
def functools_partial(d):
    return functools.partial(dict, **d.records[0])(more=1), functools.partial(max, *d.small)()


@functools.lru_cache(maxsize=8)
def cached(*args):
    return len(args)


@read
def functools_cache(d):
    return cached(d.text, d.pair, d.members), cached(d.big), cached.cache_info().maxsize


@functools.singledispatch
def kind(_):
    return "other"


kind.register(dict, lambda _: "dict")
kind.register(list, lambda _: "list")


@read
def functools_singledispatch(d):
    return kind(d.config), kind(d.words), kind(d.text)


@read
def itertools_chains(d):
    return (
        list(itertools.chain(d.words, d.small)),
        list(itertools.chain.from_iterable(d.matrix)),
        list(itertools.islice(itertools.cycle(d.small), 9)),
        list(itertools.accumulate(d.small)),
    )


@read
def itertools_products(d):
    return list(itertools.product(d.small[:2], d.pair)), list(itertools.permutations(d.pair))


@read
def itertools_groups(d):
    return (
        [(k, list(g)) for k, g in itertools.groupby(sorted(d.words, key=len), len)],
        list(itertools.pairwise(d.small)),
        list(itertools.batched(d.words, 4)),
    )


@read
def itertools_star_map(d):
    return list(itertools.starmap(lambda a, b: a * b, d.rows)), list(
        itertools.zip_longest(d.rows, d.small)
    )


@read
def bisect_search(d):
    ordered = sorted(d.small)
    return (
        bisect.bisect(ordered, 6),
        bisect.bisect_left(d.small, 4),
        bisect.bisect(d.words, "p", key=str),
    )


@read
def heapq_reads(d):
    return (
        heapq.nlargest(2, d.small),
        heapq.nsmallest(2, d.words),
        list(heapq.merge(d.pair[:1], d.words[:1])),
    )


@read
def heapq_of_copy(d):
    heap = list(d.small)
    heapq.heapify(heap)
    heapq.heappush(heap, d.three)
    return heapq.heappop(heap), heap


@read
def statistics_reads(d):
    return statistics.fmean(d.floats), statistics.median(d.small), statistics.mode(d.small)


@read
def random_reads(d):
    generator = random.Random(7)
    shuffled = list(d.words)
    generator.shuffle(shuffled)
    return (
        generator.choice(d.words),
        generator.sample(d.words, 2),
        generator.choices(d.small, k=2),
        shuffled,
    )


@read
def arrays(d):
    return array.array("i", d.small), array.array("d", d.floats), array.array("q", d.span[:3])


@read
def collections_deque(d):
    queue = collections.deque(d.words)
    queue.rotate(1)
    queue.extend(d.small)
    return queue.popleft(), list(queue)


@read
def dict_and_set_keys(d):
    return {d.text: 1, d.big: 2, d.pair: 3, d.members: 4, d.span: 5}, len({d.line, d.ratio, d.z})


@read
def logging_arguments(d):
    record = logging.LogRecord(d.identifier, 20, d.path, 1, "%(name)s %(port)d", (d.config,), None)
    other = logging.LogRecord("x", 20, "p", 1, "%s %s", (d.words, d.text), None)
    return record.getMessage(), other.getMessage(), record.filename


@read
def logging_format(d):
    formatter = logging.Formatter("%(message)s")
    return formatter.format(logging.LogRecord("x", 20, "p", 1, "%r", (d.row,), None))


@read
def boolean_and_identity(d):
    return d.config["nothing"] is None, d.config["debug"] is False, d.text and 1, d.empty_list or 2


@read
def conditional_chains(d):
    return [w for w in d.words if w in d.tags or w not in d.config or d.members > {w}]


@read
def generators(d):
    def walk(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                yield key
                yield from walk(inner)
        elif isinstance(value, (list, tuple)):
            for inner in value:
                yield from walk(inner)
        else:
            yield value

    return list(walk(d.config))


@read
def date_from_numbers(d):
    return datetime.fromtimestamp(d.three, UTC), datetime(*d.small[1:2], 2, 3, tzinfo=UTC)


@read
def numpy_arrays(d):
    import numpy as np

    taken = np.arange(300)[d.small]
    return (
        np.array(d.small).tolist(),
        np.asarray(d.matrix).sum().item(),
        np.array(d.floats).tolist(),
        np.frombuffer(d.blob, dtype=np.uint8)[5].item(),
        taken.tolist(),
    )


@read
def numpy_strings_and_objects(d):
    import numpy as np

    return (
        np.array(d.words).tolist(),
        np.array(d.rows, dtype=object).tolist(),
        np.float64(d.ratio) + 1,
    )

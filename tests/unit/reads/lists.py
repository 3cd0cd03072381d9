"""Reading lists."""
# Every way to spell a reading is wanted here, the old ones too.
# ruff: noqa: FURB192, RUF005
# Every way to spell a reading is wanted here, the old ones too.

import collections
import math
import operator
import pickle

from .data import OTHER, read


@read
def list_index(d):
    return d.words[0], d.words[3], d.words[-1], d.numbers[5], d.matrix[1][2]


@read
def list_slices(d):
    plain = d.words[1:4]
    plain.append("x")
    plain.sort()
    return plain, d.words[::-1], d.words[:], type(d.words[:]), d.words[::2]


@read
def list_iterate(d):
    total = 0
    for number in d.small:
        total += number
    return total


@read
def list_comprehension(d):
    return [word.upper() for word in d.words if len(word) > 3]


@read
def list_nested_iteration(d):
    return [x + 1 for row in d.matrix for x in row]


@read
def list_records(d):
    return [(r["id"], r["name"], r["score"], r["tags"][1]) for r in d.records]


@read
def list_reversed(d):
    return list(reversed(d.words))


@read
def list_len_and_bool(d):
    return len(d.words), bool(d.words), not d.empty_list, len(d.empty_list)


@read
def list_compare(d):
    return (
        d.words == OTHER.words,
        OTHER.words == d.words,
        d.words < ["zebra"],
        ["zebra"] > d.words,
        d.small != OTHER.small,
        d.small >= [5],
        d.words == tuple(d.words),
    )


@read
def list_in_index_count(d):
    return "fig" in d.words, "x" in d.words, d.words.index("kiwi"), d.small.count(7)


@read
def list_concatenate(d):
    plain = d.words + ["x"]
    plain.append("y")
    return plain, ["x"] + d.words, d.small * 2, 2 * d.small, type(d.small + [])


@read
def list_augmented_on_plain(d):
    plain = [1]
    plain += d.small
    plain.extend(d.small)
    plain[1:2] = d.words
    return plain


@read
def list_copies(d):
    plain = d.words.copy()
    plain.append("x")
    plain.reverse()
    other = list(d.words)
    other.insert(0, "y")
    del other[2]
    other.clear()
    return plain, other, [*d.words, 1], (*d.words,), {*d.small}


@read
def list_sorted(d):
    return sorted(d.words), sorted(d.numbers), sorted(d.words, key=len, reverse=True)


@read
def list_sort_of_records(d):
    return sorted(d.records, key=lambda r: -r["score"])[0]["id"]


@read
def list_unpacking(d):
    first, *middle, last = d.words
    a, b, c = d.matrix
    return first, middle, last, a[0] + b[1] + c[2]


@read
def list_as_arguments(d):
    def call(first, *rest, last=None):
        return first, rest, last

    return call(*d.words), max(*d.small), "{}{}{}".format(*d.words)


@read
def list_match_sequence(d):
    match d.words:
        case ["apple", *_]:
            return None
        case ["pear", second, *rest]:
            return second, rest


@read
def list_match_nested(d):
    match d.matrix:
        case [[1, _, last], [*middle], (*_, 9)]:
            return last, middle


@read
def list_repr(d):
    return repr(d.numbers), str(d.matrix), f"{d.words}"


@read
def list_reductions(d):
    return sum(d.small), min(d.small), max(d.words, key=len), any(d.small), all(d.small)


@read
def list_sums(d):
    return sum(d.numbers), sum(d.floats), math.fsum(d.floats), math.prod(d.small[:2])


@read
def list_zip_enumerate(d):
    return list(zip(d.words, d.small, strict=True)), list(enumerate(d.words, 1))


@read
def list_map_filter(d):
    return list(map(str, d.numbers)), list(filter(None, d.small)), list(map(max, d.small, d.small))


@read
def list_of_lists_zip(d):
    return list(zip(*d.matrix, strict=True))


@read
def list_iterator_protocol(d):
    iterator = iter(d.words)
    first = next(iterator)
    return first, operator.length_hint(iterator), list(iterator), next(iterator, None)


@read
def list_to_others(d):
    return tuple(d.words), set(d.small), frozenset(d.words), collections.deque(d.words, 3)


@read
def list_iterator_reduce(d):
    iterator = iter(d.words)
    next(iterator)
    return pickle.loads(pickle.dumps(list(iterator)))

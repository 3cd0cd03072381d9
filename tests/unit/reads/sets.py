"""Reading tuples and sets."""
# Every way to spell a reading is wanted here, the old ones too.
# ruff: noqa: UP031
# Every way to spell a reading is wanted here, the old ones too.

import itertools
import weakref

from .data import OTHER, read


@read
def tuple_index(d):
    return d.row[1], d.row[-1][0], d.row[1:3], d.row[:], len(d.row)


@read
def tuple_hash(d):
    return hash(d.row), hash(d.pair), {d.pair: 1}[("left", 1 << 40)]


@read
def tuple_compare(d):
    return d.row == OTHER.row, d.pair < ("m",), d.pair == ["left"], d.pair >= d.pair[:1]


@read
def tuple_concatenate(d):
    row = d.row
    row += (1,)
    return row, d.pair + d.row, d.pair * 2


@read
def tuple_unpacking(d):
    left, right = d.pair
    first, *rest = d.row
    return left, right, first, rest, [a + str(b) for a, b in d.rows]


@read
def tuple_methods(d):
    return d.row.index(2.75), d.row.count(None), 70_000 in d.row, repr(d.row), list(reversed(d.row))


@read
def tuple_match(d):
    match d.row:
        case (str(name), int(), float(), None, (inner, _)):
            return name, inner


@read
def tuple_percent(d):
    return "%s=%d" % d.pair, "%r" % (d.row,)


@read
def set_in(d):
    return (
        "red" in d.tags,
        "pink" in d.tags,
        "bob" in d.members,
        1007 in d.many,
        {1, 2} in d.nested_set,
    )


@read
def set_iterate(d):
    return sorted(d.tags), sum(d.many), len(d.members), bool(d.empty_set)


@read
def set_compare(d):
    return (
        d.tags == OTHER.tags,
        OTHER.tags == d.tags,
        d.tags < {"red", "green", "blue", "x"},
        d.tags >= {"red"},
        d.members == OTHER.members,
        d.tags == frozenset(d.tags),
    )


@read
def set_operators(d):
    union = d.tags | {"x"}
    union.add("y")
    return union, d.tags & {"red"}, d.tags - {"red"}, d.tags ^ {"red", "x"}, {"x"} | d.tags


@read
def set_operator_types(d):
    return type(d.tags | {1}), type(d.tags & {1}), type(d.members | {1}), type({1} - d.tags)


@read
def set_methods(d):
    difference = d.tags.difference(["red"], {"x"})
    difference.discard("blue")
    return (
        difference,
        d.tags.union("x"),
        d.tags.intersection(d.words, d.tags),
        d.tags.symmetric_difference(["red"]),
        d.tags.isdisjoint(d.words),
        d.tags.issubset(["red", "green", "blue", 1]),
        d.tags.issuperset(["red"]),
    )


@read
def set_copies(d):
    plain = d.tags.copy()
    plain.add("x")
    plain.remove("red")
    other = set(d.many)
    other.add(1)
    other.pop()
    return plain, len(other), type(plain), type(set(d.members)), frozenset(d.tags)


@read
def set_update_with_frozen(d):
    plain = {"red", 1}
    plain |= d.tags
    plain.update(d.members)
    plain -= d.tags
    plain.intersection_update(d.members)
    return plain


@read
def frozenset_operators(d):
    return (
        d.members | {1},
        d.members & {"bob"},
        d.members - {"bob"},
        d.members ^ d.tags,
        d.members.copy(),
    )


@read
def frozenset_hash(d):
    return hash(d.members), hash(d.many), {d.members: 1}[frozenset(["alice", "bob", "carol"])]


@read
def set_comprehension(d):
    return {tag[0] for tag in d.tags}, {len(s) for s in d.nested_set}


@read
def set_repr(d):
    return eval(repr(d.tags)), eval(repr(d.members)), repr(d.empty_set)


@read
def frozenset_weak_references(d):
    calls = []
    references = [weakref.ref(d.members), weakref.ref(d.members, calls.append)]
    assert all(r() is d.members for r in references)
    return len(references), weakref.ref(d.members) is references[0], calls


@read
def frozenset_weak_containers(d):
    weak = weakref.WeakSet([d.members, d.many])
    keyed = weakref.WeakKeyDictionary({d.members: 1})
    valued = weakref.WeakValueDictionary({"k": d.many})
    return len(weak), keyed[d.members], len(valued["k"])


@read
def frozenset_weak_proxy(d):
    proxy = weakref.proxy(d.members, lambda _: None)
    return len(proxy), "bob" in proxy


@read
def set_members_as_arguments(d):
    return (
        max(d.tags),
        min(d.many),
        sorted(d.tags, key=len),
        len(list(itertools.chain(d.tags, d.many))),
    )

"""Whatever only reads frozen objects leaves their pages alone, however hot it runs.

Every group is one function, one kind of reading. It runs on ordinary data once, for the answer,
then 20,000 times on frozen data in protected pools, in a forked child: the interpreter
specialises its instructions on the way, and a store by any of them would kill the child. What
copies hand out (dict.copy(), set operators, list slices) is changed in the same rounds, for a copy
that shared anything writable with the original would show there.
"""
# Every way to spell a reading is wanted here, the old ones too.
# ruff: noqa: C416, FURB192, PYI024, RUF005, UP031

import array
import ast
import base64
import bisect
import cmath
import codecs
import collections
import contextvars
import copy
import csv
import ctypes
import decimal
import difflib
import enum
import fractions
import functools
import gc
import hashlib
import heapq
import hmac
import html
import importlib
import io
import itertools
import json
import logging
import marshal
import math
import operator
import os
import pathlib
import pickle
import pprint
import random
import re
import reprlib
import shlex
import statistics
import string
import struct
import sys
import textwrap
import threading
import time
import types
import typing
import unicodedata
import urllib.parse
import weakref
import zlib
from collections import abc
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from child import in_child

import pmalloc

ROUNDS = 20_000


def make() -> dict[str, Any]:
    """One of everything; dicts, lists and sets are new at each call."""
    return json.loads(
        json.dumps(
            {
                "config": {
                    "name": "gateway",
                    "port": 8080,
                    "debug": False,
                    "ratio": 0.25,
                    "nothing": None,
                    "hosts": ["alpha.example", "beta.example", "gamma.example"],
                    "limits": {"soft": 1024, "hard": 1 << 40},
                    "städtchen": "Zürich",
                },
                "records": [
                    {"id": 1000 + i, "name": f"record-{i}", "tags": ["a", f"t{i}"], "score": i / 8}
                    for i in range(4)
                ],
                "words": ["pear", "apple", "fig", "banana", "kiwi", "date"],
                "numbers": [5, 300, -7, 70_000, 2, 1 << 70, -(1 << 65), 12],
                "small": [5, 3, 200, 7, 0, 12],
                "floats": [0.5, -2.25, 1e300, 3.0, 0.1],
                "matrix": [[1, 2, 300], [4, 500, 6], [700, 8, 9]],
                "text": "The quick brown fox\njumps over\tthe lazy dog ",
                "latin": "Grüße aus Zürich",
                "bmp": "東京タワー, Україна",
                "astral": "a 🔒 and a 🔑",
                "identifier": "frozen_attribute",
                "source": "[x * factor for x in (1, 2, 3)]",
                "number_text": "12345678901234567890",
                "percent": "%(name)s listens on %(port)d",
                "brace": "{name} listens on {port:>6}",
                "dollar": "$name listens on ${port}",
                "pattern": r"(\w+)\s(?P<second>\w+)",
                "when": "2026-02-28T12:30:00+00:00",
                "path": "/srv/data/cities.csv",
                "kwargs": {"sep": "-", "end": "!"},
                "modules": ["json.decoder", "math"],
                "empty_list": [],
                "empty_dict": {},
                "globals": {"limit": 7000, "factor": 3, "__builtins__": {}},
            }
        )
    ) | {
        "mixed": {
            1: "one",
            "a": 2,
            (1, "b"): "tuple",
            None: 0,
            2.5: "float",
            b"k": [1],
            -1: "minus",
        },
        "wide": {f"key-{i}": i * 1000 for i in range(40)},
        "blob": bytes(range(200)) * 2,
        "line": b"GET /index.html HTTP/1.1\r\n",
        "big": 3**200,
        "negative": -(7**90),
        "three": 1003,
        "ratio": 2.5,
        "z": complex(1.5, -2.5),
        "span": range(3, 10_000, 7),
        "huge_span": range(10**20, 10**20 + 50, 10),
        "pair": ("left", 1 << 40),
        "row": ("row", 70_000, 2.75, None, ("inner", b"bytes")),
        "rows": [("b", 2), ("a", 1), ("c", 3)],
        "tags": {"red", "green", "blue"},
        "members": frozenset({"alice", "bob", "carol"}),
        "many": frozenset(range(1000, 1050)),
        "nested_set": {frozenset({1, 2}), frozenset({3})},
        "empty_set": set(),
        "lone": "broken \ud800 text",
        "table": {97: "A", 98: None, 99: "cc"},
    }


PLAIN: Any = types.SimpleNamespace(**make())
FROZEN: Any = types.SimpleNamespace(**pmalloc.freeze(make(), name="reads"))
OTHER: Any = types.SimpleNamespace(**make())

READS: list[Callable[[Any], Any]] = []


def read(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    READS.append(function)
    return function


@pytest.mark.parametrize("group", READS, ids=lambda f: f.__name__)
def test_read(group: Callable[[Any], Any]):
    expected = group(PLAIN)

    def work() -> None:
        result = None
        for _ in range(ROUNDS):
            result = group(FROZEN)
        assert result == expected

    in_child(work)


def test_there_are_enough_groups():
    assert len({f.__name__ for f in READS}) == len(READS) >= 95


def test_all_data_is_protected():
    assert all(
        pmalloc.is_protected(value) or value in (b"", "", ()) for value in vars(FROZEN).values()
    )


# ---- dict ------------------------------------------------------------------------------


@read
def dict_literal_key(d):
    return d.config["name"], d.config["port"], d.config["städtchen"]


@read
def dict_nested_literal_key(d):
    return d.config["limits"]["hard"] + d.config["limits"]["soft"]


@read
def dict_variable_key(d):
    return [d.config[key] for key in ("port", "ratio", "nothing")]


@read
def dict_mixed_keys(d):
    m = d.mixed
    return m[1], m["a"], m[(1, "b")], m[None], m[2.5], m[b"k"], m[-1], m[True], m[1.0]


@read
def dict_own_keys(d):
    return [d.wide[key] for key in d.wide]


@read
def dict_get(d):
    return d.config.get("name"), d.config.get("missing"), d.config.get("missing", 7)


@read
def dict_in(d):
    return "name" in d.config, "missing" in d.config, None in d.mixed, 99 not in d.mixed


@read
def dict_missing(d):
    try:
        return d.config["missing"]
    except KeyError as error:
        return error.args


@read
def dict_iterate(d):
    out = []
    for key in d.config:
        out.append(key)
    return out


@read
def dict_items(d):
    return [(k, v) for k, v in d.config.items()]


@read
def dict_values(d):
    return list(d.config.values()), sum(d.wide.values())


@read
def dict_keys_view(d):
    keys = d.config.keys()
    return len(keys), "port" in keys, keys & {"port", "x"}, keys - {"port"}, keys == set(d.config)


@read
def dict_items_view(d):
    items = d.wide.items()
    return ("key-3", 3000) in items, ("key-3", 1) in items, len(items), items.isdisjoint([1])


@read
def dict_view_mapping(d):
    return d.config.keys().mapping["port"], list(d.config.items().mapping)


@read
def dict_reversed(d):
    return (
        list(reversed(d.config)),
        list(reversed(d.wide.items())),
        next(reversed(d.mixed.values())),
    )


@read
def dict_len_and_bool(d):
    return len(d.config), bool(d.config), not d.empty_dict, len(d.empty_dict)


@read
def dict_equal(d):
    return d.config == OTHER.config, OTHER.config == d.config, d.config != OTHER.mixed, d.mixed == 1


@read
def dict_repr(d):
    return repr(d.mixed), str(d.config)


@read
def dict_unhashable(d):
    try:
        return hash(d.config)
    except TypeError as error:
        return type(error)


@read
def dict_copy(d):
    plain = d.config.copy()
    plain["name"] = "changed"
    plain["new"] = 1
    del plain["port"]
    return plain, type(plain)


@read
def dict_copy_of_shared_shape(d):
    plain = d.records[2].copy()
    plain["name"] = "changed"
    plain["score"] += 1
    return plain, type(plain)


@read
def dict_copy_of_shared_shape_grows(d):
    plain = d.records[1].copy()
    plain["new"] = 1
    plain.setdefault("newer", 2)
    return plain


@read
def dict_copy_of_shared_shape_shrinks(d):
    plain = d.records[3].copy()
    del plain["id"]
    plain.pop("tags")
    plain["id"] = 5
    last = plain.popitem()
    plain.clear()
    return last, plain


@read
def dict_from_frozen(d):
    plain = dict(d.wide)
    plain["new"] = 1
    plain.pop("key-7")
    plain.update(d.config)
    return len(plain), dict(d.mixed), dict(d.records[0], more=1)


@read
def dict_from_pairs(d):
    return dict(d.rows), dict(zip(d.words, d.small, strict=True)), dict.fromkeys(d.words, 1)


@read
def dict_update_with_frozen(d):
    plain = {"a": 1}
    plain.update(d.config)
    plain.update(d.records[0])
    plain |= d.config["limits"]
    return plain


@read
def dict_display_unpacking(d):
    return {**d.config, "x": 1}, {"x": 1, **d.records[1]}


@read
def dict_union(d):
    return d.config | {"x": 1}, {"x": 1} | d.config, d.records[0] | d.records[1], type(d.mixed | {})


@read
def dict_comprehension(d):
    return {k: v for k, v in d.wide.items() if v > 20_000}


@read
def dict_merge_views(d):
    return sorted(d.records[0].keys() | d.config.keys()), d.records[0].keys() ^ {"id"}


@read
def dict_as_kwargs(d):
    def call(*, name, port, **rest):
        return name, port, len(rest)

    return call(**d.config)


@read
def dict_as_kwargs_of_c(d):
    out = io.StringIO()
    print(*d.words, file=out, **d.kwargs)
    return out.getvalue()


@read
def dict_match_mapping(d):
    match d.config:
        case {"name": "other"}:
            return None
        case {"name": str(name), "limits": {"hard": int(hard)}, **rest}:
            return name, hard, rest


@read
def dict_match_class(d):
    match d.mixed:
        case list():
            return "list"
        case dict():
            return "dict"


@read
def dict_constructors(d):
    return (
        collections.OrderedDict(d.config),
        collections.defaultdict(list, d.config),
        collections.UserDict(d.config).data,
        types.MappingProxyType(d.config)["port"],
    )


@read
def dict_counter(d):
    return collections.Counter(d.wide).most_common(2), collections.Counter(d.text)["o"]


@read
def dict_chain_map(d):
    chain = collections.ChainMap({"a": 1}, d.config, d.wide)
    return chain["name"], chain["key-5"], chain.get("missing"), len(chain)


@read
def dict_namespace(d):
    return types.SimpleNamespace(**d.records[2])


@read
def dict_sorted_items(d):
    return sorted(d.wide.items(), key=operator.itemgetter(1), reverse=True)[:3]


# ---- list ------------------------------------------------------------------------------


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


# ---- tuple ------------------------------------------------------------------------------


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


# ---- sets ------------------------------------------------------------------------------


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


# ---- str ------------------------------------------------------------------------------


@read
def str_index_slice(d):
    return d.text[0], d.text[-2], d.text[4:9], d.bmp[1], d.astral[2], d.latin[::-1], d.lone[7]


@read
def str_iterate(d):
    return [c for c in d.bmp], list(d.astral), len(d.text), list(reversed(d.latin))


@read
def str_hash(d):
    return hash(d.text), hash(d.bmp), hash(d.astral), hash(d.lone)


@read
def str_compare(d):
    return d.text == OTHER.text, d.text < d.bmp, d.latin != OTHER.latin, d.astral > "a", d.text == 1


@read
def str_concatenate(d):
    text = d.text
    text += "more"
    text = text + d.latin
    return text, d.bmp + d.astral, d.words[0] * 3, d.text * 0


@read
def str_case(d):
    return d.text.upper(), d.latin.lower(), d.text.title(), d.latin.casefold(), d.astral.swapcase()


@read
def str_split_join(d):
    return d.text.split(), d.text.rsplit(None, 1), ", ".join(d.words), d.kwargs["sep"].join(d.words)


@read
def str_search(d):
    return (
        d.text.find("fox"),
        d.text.rindex("o"),
        "lazy" in d.text,
        d.text.count("o"),
        d.bmp.find("京"),
        d.text.startswith(("x", "The")),
        d.latin.endswith("Zürich"),
    )


@read
def str_strip_replace(d):
    return (
        d.text.strip(),
        d.text.replace("quick", "slow"),
        d.text.removeprefix("The "),
        d.text.rstrip("g "),
    )


@read
def str_partition_lines(d):
    return d.text.partition("\n"), d.text.splitlines(), d.text.expandtabs(4), d.text.rpartition(" ")


@read
def str_padding(d):
    return d.words[0].center(20, "*"), d.words[0].zfill(9), d.words[0].ljust(9), d.words[0].rjust(9)


@read
def str_predicates(d):
    word = d.identifier
    return (
        word.isidentifier(),
        word.isalpha(),
        d.number_text.isdigit(),
        word.islower(),
        d.bmp.isascii(),
    )


@read
def str_encode(d):
    return (
        d.text.encode(),
        d.latin.encode(),
        d.latin.encode("latin-1"),
        d.bmp.encode("utf-16"),
        d.astral.encode(),
    )


@read
def str_encode_lone_surrogate(d):
    try:
        d.lone.encode()
    except UnicodeEncodeError as error:
        return error.start, d.lone.encode(errors="replace"), d.lone.encode("utf-8", "surrogatepass")


@read
def str_codecs(d):
    return codecs.encode(d.text, "rot13"), d.latin.encode("unicode_escape")


@read
def str_translate(d):
    return "abcabc".translate(d.table), d.text.translate(d.table), str.maketrans(dict(d.table))


@read
def str_format_spec(d):
    return (
        f"{d.words[0]:>12}",
        format(d.words[1], "^9"),
        f"{d.ratio:{d.number_text[:1]}.3f}",
        f"{d.latin!a}",
    )


@read
def str_f_string(d):
    return f"{d.config['name']}:{d.config['port']:05d} {d.config['ratio']:.1%} {d.words!r} {d.pair}"


@read
def str_format(d):
    return d.brace.format(**d.config), d.brace.format_map(d.config), f"{d.config['hosts'][1]}"


@read
def str_percent_format(d):
    return d.percent % d.config, "%(a)s" % d.mixed, "%s" % d.text, "%d %x" % (d.three, d.three)


@read
def str_template(d):
    return string.Template(d.dollar).substitute(d.config), string.Template(
        d.dollar
    ).safe_substitute()


@read
def str_intern(d):
    name = sys.intern(d.identifier)
    assert sys.intern(name) is name
    return name, sys.intern(d.config["name"]), sys.intern(d.words[0]), sys.intern(d.latin)


class Thing:
    pass


@read
def str_as_attribute_name(d):
    thing = Thing()
    setattr(thing, d.identifier, 5)
    found = getattr(thing, d.identifier), thing.frozen_attribute, hasattr(thing, d.words[0])
    delattr(thing, d.identifier)
    return found, vars(thing)


@read
def str_as_attribute_of_type(d):
    return getattr(d.text, d.words[0], None), getattr(os, d.kwargs["sep"], 1)


@read
def str_as_type_name(d):
    made = type(d.identifier, (), {d.words[0]: 1})
    return made.__name__, made.pear, made.__qualname__


@read
def str_to_numbers(d):
    return int(d.number_text), float(d.number_text), int(d.number_text[:3], 16), complex("1+2j")


@read
def str_ord_chr(d):
    return (
        ord(d.bmp[0]),
        [ord(c) for c in d.astral],
        chr(d.three),
        ascii(d.latin),
        unicodedata.name(d.bmp[0]),
    )


@read
def str_normalise(d):
    return unicodedata.normalize("NFD", d.latin), unicodedata.normalize("NFKC", d.bmp)


@read
def str_regular_expressions(d):
    return (
        re.findall(d.pattern, d.text),
        re.sub(d.pattern, r"\2 \g<second>", d.text),
        re.match(d.pattern, d.text).groupdict(),
        re.split(r"\s+", d.latin),
        re.escape(d.path),
    )


@read
def str_regular_expression_compiles(d):
    return re.compile(d.pattern).search(d.text).span()


@read
def str_paths(d):
    path = pathlib.PurePosixPath(d.path)
    return (
        path.name,
        path.parent / d.words[0],
        os.path.join(d.path, d.words[0]),
        os.fsencode(d.latin),
    )


@read
def str_system_paths(d):
    return (
        os.path.exists(d.path),
        os.environ.get(d.identifier),
        os.path.splitext(d.path),
        os.fspath(d.path),
    )


@read
def str_shlex_html_url(d):
    return html.escape(d.text), urllib.parse.quote(d.latin), urllib.parse.urlsplit(d.path).path


@read
def str_shlex(d):
    return shlex.quote(d.text), shlex.join(d.words)


@read
def str_textwrap(d):
    return textwrap.shorten(d.text, 20)


@read
def str_dedent(d):
    return textwrap.dedent(d.text), textwrap.indent(d.text, d.kwargs["sep"])


@read
def str_dates(d):
    when = datetime.fromisoformat(d.when)
    return when, when.strftime(d.percent[:1] + "Y"), time.strftime(d.identifier, time.gmtime(0))


@read
def str_import(d):
    return (
        importlib.import_module(d.modules[0]),
        __import__(d.modules[1]),
        sys.modules.get(d.identifier),
    )


@read
def str_close_matches(d):
    return difflib.get_close_matches("appel", d.words[:2], n=1)


@read
def str_c_utf8(d):
    utf8 = ctypes.pythonapi.PyUnicode_AsUTF8
    utf8.restype, utf8.argtypes = ctypes.c_char_p, [ctypes.py_object]
    return utf8(d.text), utf8(d.latin), utf8(d.bmp), utf8(d.astral)


@read
def str_c_wide(d):
    return ctypes.c_wchar_p(d.astral).value, ctypes.create_unicode_buffer(d.bmp).value


# ---- bytes ------------------------------------------------------------------------------


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


# ---- numbers ------------------------------------------------------------------------------


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
        d.three == 1003.0,
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


# ---- range ------------------------------------------------------------------------------


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


# ---- serialising and copying -------------------------------------------------------------------


@read
def json_dumps(d):
    return json.dumps(d.config), json.dumps(d.records[0])


@read
def json_dumps_with_options(d):
    return json.dumps(d.records[1], sort_keys=True, indent=1, ensure_ascii=False)


@read
def json_loads(d):
    return (
        json.loads('{"a": 1}'),
        json.loads(d.number_text),
        json.JSONDecoder().decode(d.number_text),
    )


@read
def pickle_every_protocol(d):
    return [
        pickle.loads(pickle.dumps(d.records[0], protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ]


@read
def pickle_scalars(d):
    return pickle.loads(
        pickle.dumps((d.text, d.big, d.line, d.ratio, d.z, d.span, d.pair, d.members))
    )


@read
def pickle_plain_with_frozen_inside(d):
    copied = pickle.loads(pickle.dumps({"inner": d.words, "tags": d.tags}))
    copied["inner"].append(1)
    return copied, type(copied["inner"]), type(copied["tags"])


@read
def marshal_scalars(d):
    return marshal.loads(
        marshal.dumps((d.text, d.latin, d.lone, d.big, d.line, d.ratio, d.z, d.pair))
    )


@read
def copy_shallow(d):
    plain = copy.copy(d.words)
    plain.append(1)
    return plain, copy.copy(d.config), copy.copy(d.tags), copy.copy(d.row), copy.copy(d.text)


@read
def copy_deep(d):
    plain = copy.deepcopy(d.records[0])
    plain["tags"].append("more")
    return plain, type(plain["tags"])


@read
def copy_deep_of_plain_with_frozen_inside(d):
    plain = copy.deepcopy([d.words, d.words])
    plain[0].append("x")
    return plain, plain[0] is plain[1]


@read
def thaw(d):
    plain = pmalloc.thaw(d.records[1])
    plain["tags"].append("more")
    return plain, type(plain), type(plain["tags"])


@read
def csv_write(d):
    out = io.StringIO()
    csv.writer(out).writerow(d.words)
    csv.DictWriter(out, d.records[0].keys()).writerow(d.records[0])
    return out.getvalue()


@read
def stream_write(d):
    out = io.StringIO(d.text)
    out.write(d.latin)
    out.writelines(d.words)
    print(d.config, d.small, file=out)
    return out.getvalue()


@read
def stream_read(d):
    stream = io.StringIO(d.text)
    return stream.readline(), stream.read(), io.TextIOWrapper(io.BytesIO(d.line)).read()


@read
def literal_eval(d):
    return ast.literal_eval(repr(d.matrix)), ast.literal_eval(d.number_text)


@read
def pretty_print(d):
    return pprint.pformat(d.matrix, width=20), reprlib.repr(d.rows[0])


# ---- code ------------------------------------------------------------------------------


@read
def eval_frozen_source(d):
    return eval(d.source, {"factor": 2})


@read
def eval_with_frozen_locals(d):
    return eval("limit + factor", {"__builtins__": {}}, d.globals)


@read
def exec_with_frozen_globals(d):
    answer = {}
    exec("answer = limit * factor", d.globals, answer)
    return answer


@read
def compile_frozen_names(d):
    code = compile(d.identifier, d.path, "eval")
    return code.co_names, code.co_filename, eval(code, {d.identifier: 5})


def hot():
    return limit + factor + limit  # noqa: F821


@read
def function_with_frozen_globals(d):
    return types.FunctionType(hot.__code__, d.globals)()


@read
def class_with_frozen_namespace(d):
    made = type("Made", (), d.records[0])
    return made.id, made.name, made.tags


@read
def named_tuple_with_frozen_fields(d):
    made = collections.namedtuple(d.identifier, d.words[:2])
    return made(1, 2)._asdict(), made._fields


@read
def enum_with_frozen_names(d):
    made = enum.IntEnum(d.identifier, d.words[:1])
    return made.pear.name, made["pear"].value


@read
def typed_names(d):
    return typing.TypeVar(d.identifier).__name__, typing.NewType(d.words[0], int).__name__


@read
def context_variables(d):
    variable = contextvars.ContextVar(d.identifier, default=d.words)
    variable.set(d.config)
    return variable.name, variable.get()


@read
def instance_dict_update(d):
    thing = Thing()
    thing.__dict__.update(d.records[0])
    vars(thing)["id"] += 1
    return thing.id, thing.name


@read
def exceptions(d):
    try:
        raise ValueError(d.text, d.config)
    except ValueError as error:
        error.add_note(d.latin)
        return error.args, error.__notes__, str(KeyError(d.identifier))


@read
def isinstance_and_types(d):
    return (
        isinstance(d.config, dict),
        isinstance(d.words, list),
        isinstance(d.tags, abc.Set),
        isinstance(d.config, abc.Mapping),
        isinstance(d.words, abc.Sequence),
        type(d.row),
        type(d.text),
        type(d.members),
        callable(d.config),
        isinstance(d.big, (str, int)),
    )


@read
def introspection(d):
    return (
        sys.getsizeof(d.words) > 0,
        len(gc.get_referents(d.words)),
        gc.is_tracked(d.line),
        id(d.words) == id(d.words),
        sys.getrefcount(d.config) > 1,
        "append" in dir(d.words),
        d.config.__doc__ is not None,
    )


# ---- tools ------------------------------------------------------------------------------


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


# ---- what is not equal to the plain answer -------------------------------------------------------


def test_weak_references_are_refused():
    def work() -> None:
        for value in (FROZEN.config, FROZEN.words, FROZEN.tags):
            for _ in range(ROUNDS):
                try:
                    weakref.ref(value)
                except TypeError:
                    continue
                raise AssertionError("a weak reference was made")
        with pytest.raises(
            TypeError, match=r"cannot create weak reference to '.*FrozenSet' object"
        ):
            weakref.ref(FROZEN.tags)

    in_child(work)


def test_callbacks_of_weak_references_are_never_called():
    def work() -> None:
        calls: list[object] = []
        kept = [weakref.ref(FROZEN.members, calls.append) for _ in range(ROUNDS)]
        assert weakref.getweakrefcount(FROZEN.members) > ROUNDS
        del kept
        gc.collect()
        assert calls == []

    in_child(work)


def test_frozen_set_has_no_hash():
    """A set cannot be hashed, so what it froze to cannot; frozenset's own hash is ready in it."""

    def work() -> None:
        for _ in range(ROUNDS):
            try:
                hash(FROZEN.tags)
            except TypeError:
                assert frozenset.__hash__(FROZEN.tags) == hash(frozenset(FROZEN.tags))
                continue
            raise AssertionError("it has a hash")

    in_child(work)


def test_containers_are_not_tracked():
    def work() -> None:
        for _ in range(ROUNDS):
            for value in (FROZEN.config, FROZEN.words, FROZEN.tags, FROZEN.row, FROZEN.members):
                assert not gc.is_tracked(value)
        gc.collect()
        gc.freeze()
        gc.unfreeze()
        assert not any(pmalloc.is_protected(o) for o in gc.get_objects())

    in_child(work)


def test_threads_read_at_once():
    def work() -> None:
        failures: list[BaseException] = []
        start = threading.Barrier(4)

        def reader(seed: int) -> None:
            try:
                start.wait()
                generator = random.Random(seed)
                for _ in range(ROUNDS // 4):
                    key = f"key-{generator.randrange(40)}"
                    assert FROZEN.wide[key] == int(key[4:]) * 1000
                    assert FROZEN.records[2]["tags"][1] == "t2"
                    assert sum(FROZEN.small) == 227
                    assert FROZEN.tags | {1} == {"red", "green", "blue", 1}
                    weakref.ref(FROZEN.members, lambda _: None)
                    sys.intern(FROZEN.identifier)
                    hash(FROZEN.many)
            except BaseException as error:
                failures.append(error)

        sys.setswitchinterval(1e-5)
        threads = [threading.Thread(target=reader, args=[seed]) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

    in_child(work)

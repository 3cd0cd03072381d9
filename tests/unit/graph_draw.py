"""Draws the random graphs of test_graphs.py: lists of nodes that refer to each other by number.

So parts are shared, and lists, dicts and instances make cycles.
"""

import math
import struct
from collections import Counter, OrderedDict, defaultdict
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import graph_kinds as k
from graph_compare import by_address
from hypothesis import strategies as st


def text(first: int, last: int) -> st.SearchStrategy[str]:
    """Surrogates are characters like any other."""
    return st.text(
        st.characters(min_codepoint=first, max_codepoint=last, exclude_categories=()), max_size=12
    )


EDGES_OF_INT = [
    s * (2**bits + d) for bits in (8, 30, 60, 63, 90) for d in (-1, 0, 1) for s in (1, -1)
]
RANGES = st.builds(
    range, st.integers(), st.integers(), st.integers(-(2**70), 2**70).filter(lambda step: step != 0)
)
SCALARS = st.one_of(
    st.sampled_from([None, True, False, "", b"", (), -0.0, 0.0, math.inf, -math.inf, 1, 1.0, 0]),
    st.integers(-10, 300),
    st.sampled_from(EDGES_OF_INT),
    st.integers(-(2**300), 2**300),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    text(0, 0x7F),
    text(0, 0xFF),
    text(0, 0xFFFF),
    text(0, 0x10FFFF),
    text(0xD800, 0xDFFF),
    st.binary(max_size=12),
    RANGES,
    st.sampled_from(k.VALUES),
    st.sampled_from(k.EXTERNALS),
)
REFERENCES = st.lists(st.integers(0, 23), max_size=5)
PAIRS = st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23)), max_size=5)
NAMED = st.lists(st.tuples(st.sampled_from([*k.NAMES, 7]), st.integers(0, 23)), max_size=6)
INSTANCES = st.tuples(
    st.sampled_from(k.FILLED),
    NAMED,
    PAIRS,
    st.sampled_from([0, 0, 0, 29, 30, 31, 40]),  # how many attributes besides
    st.lists(st.sampled_from(k.NAMES), max_size=2),  # those deleted again
)
NODES = st.one_of(
    SCALARS.map(lambda value: ("scalar", value)),
    st.sampled_from([("nan", float), ("nan", complex), *(("nan", text) for text in k.NO_NUMBERS)]),
    st.tuples(st.sampled_from(["list", "tuple", "set", "frozenset"]), REFERENCES),
    st.tuples(st.just("dict"), PAIRS),
    st.tuples(st.just("dict"), PAIRS),
    INSTANCES.map(lambda what: ("instance", what)),
    INSTANCES.map(lambda what: ("instance", what)),
    st.tuples(st.sampled_from(k.HASHED_BY_CODE), st.integers(0, 23)).map(lambda x: ("key", x)),
    st.tuples(st.sampled_from(k.TUPLES), REFERENCES, NAMED).map(lambda x: ("named", x)),
    st.tuples(st.sampled_from(["proxy", "bytearray", "frozendict"]), PAIRS),
)
GRAPH = st.tuples(st.lists(NODES, min_size=1, max_size=24), st.sampled_from([list, dict, tuple, 1]))
HASHED_AT_MOST = 300  # shared tuples in tuples: each level may double what hash() walks over


class Builder:
    """Makes the objects of a drawn graph, in the order of their numbers."""

    def __init__(self, specs: list[tuple[str, Any]]):
        self.shells: dict[int, Any] = {}
        for number, (kind, what) in enumerate(specs):
            if kind in ("list", "dict"):
                self.shells[number] = {"list": list, "dict": dict}[kind]()
            elif kind == "instance":
                cls = what[0]
                self.shells[number] = cls(list) if cls is defaultdict else cls.__new__(cls)
                if cls in k.HASHED_BY_ADDRESS:
                    self.shells[number].label = number
        self.nodes: list[Any] = []
        self.weights: dict[int, int] = {id(None): 1}  # of what can be a key
        self.keys: list[Any] = [None]
        self.by_value: list[Any] = [None]  # those that hold no instance
        for number, (kind, what) in enumerate(specs):
            self.nodes.append(self.make(number, kind, what))
        for number, (kind, what) in enumerate(specs):
            self.fill(self.nodes[number], kind, what)

    def node(self, reference: int) -> Any:
        return self.nodes[reference % len(self.nodes)]

    def key(self, reference: int) -> Any:
        return self.keys[reference % len(self.keys)]

    def earlier(self, reference: int, number: int) -> Any:
        """What an immutable node refers to: it must be there, or be one that is filled later."""
        if reference in self.shells:
            return self.shells[reference]
        return self.nodes[reference % number] if number else None

    def make(self, number: int, kind: str, what: Any) -> Any:
        parts: list[Any] = []
        hashed = True
        if number in self.shells:
            node: Any = self.shells[number]
            hashed = type(node) in k.HASHED_BY_ADDRESS
        elif kind == "set":
            return {self.key(r) for r in what}
        elif kind == "bytearray":
            return bytearray(x for pair in what for x in pair)
        elif kind == "proxy":
            return MappingProxyType({self.key(a): self.earlier(b, number) for a, b in what})
        elif kind == "frozendict":
            table = {self.key(a): self.earlier(b, number) for a, b in what}
            return table if k.FROZENDICT is None else k.FROZENDICT(table)
        elif kind == "tuple":
            parts = [self.earlier(r, number) for r in what]
            node = tuple(parts)
        elif kind == "named":
            cls, references, _ = what
            parts = [self.earlier(r, number) for r in references]
            if hasattr(cls, "_fields"):
                parts = [*parts, None, None, None][: len(cls._fields)]
            node = tuple.__new__(cls, parts)
            hashed = "Attributes" not in cls.__name__ and cls is not k.Proud
        elif kind == "frozenset":
            parts = [self.key(r) for r in what]
            node = frozenset(parts)
        elif kind == "key":
            cls, reference = what
            parts = [self.by_value[reference % len(self.by_value)]]
            node = cls(parts[0])
        elif kind == "nan":
            node = self.no_number(number, what)
        else:
            node = what
        weight = 1 + sum(self.weights.get(id(p), HASHED_AT_MOST) for p in parts)
        if hashed and weight <= HASHED_AT_MOST:
            self.weights[id(node)] = weight
            self.keys.append(node)
            if not by_address(node):
                self.by_value.append(node)
        return node

    @staticmethod
    def no_number(number: int, what: Any) -> Any:
        """Each its own bits, so that it can be told from the others."""
        if isinstance(what, str):
            return Decimal(f"{what}{number + 1}")
        [nan] = struct.unpack("<d", struct.pack("<Q", (0x7FF8 << 48) + number + 1))
        return nan if what is float else complex(number, nan)

    def fill(self, node: Any, kind: str, what: Any) -> None:
        if kind == "list":
            node += [self.node(r) for r in what]
        elif kind == "dict":
            node |= {self.key(a): self.node(b) for a, b in what}
        elif kind == "named":
            self.set_attributes(node, what[2])
        elif kind == "instance":
            _, named, pairs, more, deleted = what
            if isinstance(node, Counter):
                for a, b in pairs:
                    node[self.key(a)] = b
            elif isinstance(node, dict):
                for a, b in pairs:
                    node[self.key(a)] = self.node(b)
            elif isinstance(node, list):
                node += [self.node(b) for _, b in pairs]
            if type(node) in (OrderedDict, defaultdict):
                return  # they become plain dicts
            self.set_attributes(node, named)
            self.set_attributes(node, [(name, i % 24) for i, name in enumerate(k.MANY[:more])])
            for name in deleted:
                try:
                    object.__delattr__(node, name)
                except (AttributeError, TypeError):
                    continue

    def set_attributes(self, node: Any, named: list[tuple[Any, int]]) -> None:
        for name, reference in named:
            try:
                if isinstance(name, str):
                    object.__setattr__(node, name, self.node(reference))
                else:
                    node.__dict__[name] = self.node(reference)
            except (AttributeError, TypeError):
                continue  # no such slot, and no __dict__; a property


def build(graph: tuple[list[tuple[str, Any]], Any]) -> Any:
    specs, root = graph
    nodes = Builder(specs).nodes
    if root is dict:
        return dict(enumerate(nodes))
    if root == 1 and not k.is_external(nodes[-1]):  # which is refused as a root
        return nodes[-1]
    return [nodes[-1]] if root == 1 else root(nodes)

"""Random graphs, frozen and protected, come out of every door as what went in.

Four seeds, a thousand graphs each. A graph is drawn as a list of nodes that refer to each other by
number: parts are shared, and lists, dicts and instances make cycles. What comes out is compared by
a walk over both at once that knows types, bits, order and which parts are one object; `==` knows
too little of that and does not end on cycles.
"""

import copy
import gc
import itertools
import math
import pickle
import struct
import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import graph_kinds as k
import pytest
from child import in_child
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import pmalloc
from pmalloc import FrozenDict, FrozenList, FrozenSet

SEEDS = [20_150_731, 20_170_607, 20_180_423, 20_181_023]
GRAPHS = 1000
DEEP = 1_000_000

# ---- drawing a graph -----------------------------------------------------------------------------


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


# ---- comparing -----------------------------------------------------------------------------------

SETS = (set, frozenset)
CONTAINERS = (list, dict, tuple, *SETS)
FROZEN = {
    dict: FrozenDict,
    list: FrozenList,
    set: FrozenSet,
    OrderedDict: FrozenDict,
    defaultdict: FrozenDict,
    bytearray: bytes,
}
THAWED = {OrderedDict: dict, defaultdict: dict, bytearray: bytes}


def form(value: Any) -> str:
    """Of a scalar or a key: the same text, the same type and bits."""
    kind = value.__class__.__name__
    if isinstance(value, float):
        return f"{kind} {struct.pack('<d', value).hex()}"
    if isinstance(value, complex):
        return f"{kind} {struct.pack('<2d', value.real, value.imag).hex()}"
    if isinstance(value, tuple):
        return f"{kind} ({', '.join(map(form, value))})"
    if isinstance(value, frozenset):
        return f"{kind} ({', '.join(sorted(map(form, value)))})"
    if isinstance(value, bytearray):
        return form(bytes(value))
    if k.is_instance(value):
        return f"{kind} {form(value.label)}"
    return f"{kind} {value!r}"


def is_nan(value: Any) -> bool:
    return isinstance(value, (float, complex, Decimal)) and (
        not value.is_finite() and value.is_nan() if isinstance(value, Decimal) else value != value
    )


def by_address(key: Any) -> bool:
    """Such a key is found by identity alone, and where it stands in a set hangs on its address."""
    return (
        is_nan(key)
        or key.__class__ in k.HASHED_BY_ADDRESS
        or (isinstance(key, (tuple, frozenset)) and any(map(by_address, key)))
    )


def is_container(value: Any) -> bool:
    return (
        (isinstance(value, CONTAINERS) and not (type(value) is tuple and not value))
        or k.is_instance(value)
        or k.is_mapping(value)
    )


def same(
    source: Any, other: Any, kinds: dict[type, type], shared: Callable[[Any], bool], order: bool
) -> list[tuple[Any, Any]]:
    """Asserts that other is source again; gives the pairs of containers.

    Args:
        kinds: what a type has become, where it has changed.
        shared: whether such a part, one object in source, is one object in other.
        order: whether other is frozen, and sets therefore in the same order.
    """
    there: dict[int, Any] = {}
    back: dict[int, Any] = {}
    pairs: dict[tuple[int, int], tuple[Any, Any]] = {}
    todo = [(source, other)]
    while todo:
        a, b = todo.pop()
        assert b.__class__ is kinds.get(type(a), type(a))
        if k.is_external(a):
            assert a is b
            continue
        if order:
            assert issubclass(type(b), kinds.get(type(a), type(a)))
            assert pmalloc.is_protected(b) or (a is b and sys.getrefcount(a) >= 2**29)
            assert a is b or not gc.is_tracked(b)
        else:
            assert type(b) is kinds.get(type(a), type(a))
        container = is_container(a)
        if not container:
            assert form(a) == form(b)
        if (container or is_nan(a)) and shared(a):
            assert there.setdefault(id(a), b) is b
            assert back.setdefault(id(b), a) is a
        if not container or (id(a), id(b)) in pairs:
            continue
        pairs[id(a), id(b)] = a, b
        attributes, others = k.state(a), k.state(b)
        assert [name for name, _ in attributes] == [name for name, _ in others]
        todo += [(x, y) for (_, x), (_, y) in zip(attributes, others, strict=True)]
        if not isinstance(a, CONTAINERS) and not k.is_mapping(a):
            continue
        assert len(a) == len(b)
        if k.is_mapping(a):
            todo += zip(a, b, strict=True)
            todo += zip(a.values(), b.values(), strict=True)
        elif isinstance(a, (list, tuple)) or (order and not any(map(by_address, a))):
            todo += zip(a, b, strict=True)
        else:
            todo += zip(sorted(a, key=form), sorted(b, key=form), strict=True)
    return list(pairs.values())


def paths(value: Any, most: int) -> tuple[int, bool, bool]:
    """How many steps a naive walk like repr's makes, at least if over most; whether it came upon
    a cycle or a NaN, which `==` does not survive; and upon something whose repr is another."""
    steps, odd, own, above = 0, False, False, set[int]()

    def visit(value: Any) -> None:
        nonlocal steps, odd, own
        steps += 1
        own |= type(value) in THAWED or k.is_instance(value)
        odd |= k.is_instance(value)
        if steps > most or not (isinstance(value, CONTAINERS) or k.is_mapping(value)):
            odd |= is_nan(value)
            return
        if id(value) in above:
            odd = True
            return
        above.add(id(value))
        for part in value:
            visit(part)
            if k.is_mapping(value):
                visit(value[part])
        above.discard(id(value))

    visit(value)
    return steps, odd, own


def is_ordinary(value: Any) -> bool:
    """Whether nothing of it lies in a pool, or is of a frozen type, all the way down."""
    todo, seen = [value], set[int]()
    while todo:
        value = todo.pop()
        if id(value) in seen or k.is_external(value):
            continue
        seen.add(id(value))
        # Key strings that records share lie in no pool of ours, but are protected.
        if pmalloc.pool_of(value) is not None or pmalloc.is_protected(value):
            return False
        if type(value) is not value.__class__ or type(value).__module__ == "pmalloc":
            return False
        todo += [part for _, part in k.state(value)]
        if k.is_mapping(value):
            todo += [*value, *value.values()]
        elif isinstance(value, CONTAINERS):
            todo += value
    return True


# ---- the doors -----------------------------------------------------------------------------------

# What one door or another keeps as one object.
ALL: Callable[[Any], bool] = lambda _: True  # noqa: E731
NONE: Callable[[Any], bool] = lambda _: False  # noqa: E731
MUTABLE: Callable[[Any], bool] = (  # noqa: E731
    lambda part: isinstance(part, (list, dict, set)) and not k.is_instance(part)
)
NO_SCALAR: Callable[[Any], bool] = lambda part: is_container(part)  # noqa: E731


def read(source: Any, frozen: Any) -> None:
    """Reads all there is of one frozen container."""
    assert bool(source) == bool(frozen)
    if k.is_mapping(source):
        values = list(frozen.values())
        assert [key for key, _ in frozen.items()] == list(frozen.keys())
        assert all(a is b for a, b in zip(reversed(list(reversed(frozen))), frozen, strict=True))
        for key, own, value in zip(source, frozen, values, strict=True):
            assert frozen[own] is value
            assert frozen.get(own) is value
            assert own in frozen
            if not by_address(key):
                assert frozen[key] is value
                assert hash(own) == hash(key)
        assert object() not in frozen
        assert frozen.get("no such key", values) is values
    elif isinstance(source, (list, tuple)):
        assert all(frozen[i] is part for i, part in enumerate(frozen))
        assert all(frozen[~i] is part for i, part in enumerate(reversed(frozen)))
    elif isinstance(source, SETS):
        assert all(member in frozen for member in frozen)
        assert all(member in frozen for member in source if not by_address(member))
        assert object() not in frozen
        assert frozen == frozen | frozen == frozen & frozen
    if isinstance(source, (dict, list, set)):
        with pytest.raises(TypeError, match="unhashable"):
            hash(frozen)
    if k.is_instance(source):
        read_instance(source, frozen)


def read_instance(source: Any, frozen: Any) -> None:
    """By name, as attributes are read; and refuses every way to change them."""
    assert isinstance(frozen, type(source))
    for name, value in k.state(frozen):
        name = name[1] if isinstance(name, tuple) else name
        if isinstance(name, str) and not hasattr(vars(type(source)).get(name), "fget"):
            assert getattr(frozen, name) is value
    # Some tuples refuse by themselves.
    refusal = "" if type(frozen) is type(source) else "object is frozen in pool 'graph"
    for name in ("x", "no such name"):
        with pytest.raises(AttributeError, match=refusal):
            setattr(frozen, name, 1)
        with pytest.raises(AttributeError, match=refusal):
            delattr(frozen, name)
    for name in ("x", "z", "name", "no such name"):
        assert hasattr(source, name) is hasattr(frozen, name)
    if hasattr(source, "__dict__"):
        assert type(frozen.__dict__) is FrozenDict
        assert frozen.__dict__ is frozen.__dict__
        assert pmalloc.is_protected(frozen.__dict__)
        assert not gc.is_tracked(frozen.__dict__)
        with pytest.raises(TypeError, match="FrozenDict"):
            frozen.__dict__["x"] = 1
    if not by_address(source) and type(source).__hash__ is not object.__hash__:
        try:
            expected = hash(source)
        except TypeError:
            pass  # where a bytearray is in it, what is frozen has a hash
        else:
            assert hash(frozen) == expected or holds_instances(source)


def holds_instances(value: Any) -> bool:
    """Whether its hash may hang on an address."""
    return isinstance(value, tuple) and any(
        k.is_instance(part) or is_nan(part) or holds_instances(part) for part in value
    )


def shallow(source: Any, frozen: Any) -> None:
    """copy.copy gives a plain container of the same parts."""
    if isinstance(source, MappingProxyType):
        return
    copied = copy.copy(frozen)
    assert type(copied) is THAWED.get(type(source), type(source))
    if isinstance(source, SETS):
        parts = {id(member) for member in frozen}
        assert len(copied) == len(parts)
        assert all(id(member) in parts for member in copied)
    elif isinstance(source, CONTAINERS):
        assert all(a is b for a, b in zip(copied, frozen, strict=True))
    if k.is_mapping(source):
        assert all(a is b for a, b in zip(copied.values(), frozen.values(), strict=True))
    if k.is_instance(source):
        assert [(name, id(part)) for name, part in k.state(copied)] == [
            (name, id(part)) for name, part in k.state(frozen)
        ]


def pickles(source: Any, protocol: int) -> bool:
    """Whether pickle takes the ordinary graph there and back: not frozensets in cycles, proxies, or
    keys that are not whole when they are hashed."""
    try:
        loaded = pickle.loads(pickle.dumps(source, protocol))
        same(source, loaded, {}, shared=NONE, order=False)
    except (AssertionError, AttributeError, RecursionError, TypeError, pickle.PicklingError):
        return False
    return True


def check(source: Any, frozen: Any, tally: dict[str, int]) -> None:
    """Through all doors; counts which were open."""
    pairs = same(source, frozen, FROZEN, shared=ALL, order=True)
    for pair in pairs:
        read(*pair)
        shallow(*pair)

    steps, odd, own = paths(source, 2000)
    tally["odd"] += odd
    tally["instances"] += sum(k.is_instance(a) for a, _ in pairs)
    if (
        steps <= 2000
        and not own
        and not any(isinstance(a, SETS) and any(map(by_address, a)) for a, _ in pairs)
    ):
        assert repr(frozen) == repr(source)
    if steps <= 2000 and not odd:
        assert frozen == source
        assert source == frozen

    thawed = pmalloc.thaw(frozen)
    same(source, thawed, THAWED, shared=ALL, order=False)
    assert is_ordinary(thawed)

    # A root that is a tuple is no type of ours: copy and pickle take it apart themselves, and meet
    # the frozen parts one by one. A str stays the frozen one, as any str is its own copy.
    ours = type(frozen).__module__ == "pmalloc" or type(frozen) is not frozen.__class__
    if ours or not any(isinstance(a, MappingProxyType) for a, _ in pairs):
        tally["copied"] += 1
        copied = copy.deepcopy(frozen)
        same(source, copied, THAWED, shared=ALL if ours else MUTABLE, order=False)
        assert is_ordinary(copied) or not ours
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        if pickles(source, protocol):
            tally["pickled"] += 1
            loaded = pickle.loads(pickle.dumps(frozen, protocol))
            same(source, loaded, THAWED, shared=NO_SCALAR if ours else NONE, order=False)
            assert is_ordinary(loaded)


@pytest.mark.parametrize("number", SEEDS)
def test_graphs(number: int):
    names = (f"graph {i}" for i in itertools.count())
    finished: list[pmalloc.Pool] = []
    tally = dict.fromkeys(["graphs", "odd", "instances", "copied", "pickled"], 0)

    def destroy_finished() -> None:
        gc.collect()  # what pickle made on its way may be a cycle that holds frozen strings
        while finished:
            finished.pop().destroy(force=True)

    @seed(number)
    @settings(
        max_examples=GRAPHS,
        deadline=None,
        database=None,
        print_blob=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(GRAPH)
    def run(graph: Any) -> None:
        source = build(graph)
        with pmalloc.Pool(next(names)) as pool:
            frozen = pool.freeze(source)
        try:
            check(source, frozen, tally)
        except BaseException:
            finished.clear()  # a traceback holds frozen objects from now on
            raise
        del frozen
        tally["graphs"] += 1
        finished.append(pool)
        if len(finished) == 50:
            destroy_finished()

    def work() -> None:
        gc.freeze()  # destroy() collects garbage: not that of all the tests, each time
        run()
        assert tally["graphs"] >= GRAPHS
        assert tally["odd"] >= GRAPHS / 10
        assert tally["instances"] >= GRAPHS / 3
        assert tally["copied"] >= GRAPHS / 2
        assert tally["pickled"] >= GRAPHS / 2

    in_child(work)


# ---- deep and wide -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrap", "unwrap", "kind"),
    [
        (lambda x: [x], lambda x: x[0], FrozenList),
        (lambda x: {"next": x}, lambda x: x["next"], FrozenDict),
        (lambda x: (x,), lambda x: x[0], tuple),
        (lambda x: [({1: x},)], lambda x: x[0][0][1], FrozenList),
        (lambda x: frozenset({x}), lambda x: next(iter(x)), frozenset),
    ],
    ids=["list", "dict", "tuple", "mixed", "frozenset"],
)
def test_a_million_deep(wrap: Callable[[Any], Any], unwrap: Callable[[Any], Any], kind: type):
    def bottom(value: Any) -> Any:
        for _ in range(DEEP):
            value = unwrap(value)
        return value

    def work() -> None:
        source: Any = "at the bottom"
        for _ in range(DEEP):
            source = wrap(source)
        frozen = pmalloc.freeze(source)
        del source
        assert type(frozen) is kind
        assert bottom(frozen) == "at the bottom"
        thawed = pmalloc.thaw(frozen)
        assert bottom(thawed) == "at the bottom"
        assert pmalloc.pool_of(thawed) is None
        assert pmalloc.pool_of(bottom(thawed)) is None
        del thawed

    in_child(work)


def test_a_million_records():
    def work() -> None:
        source = [{"id": i, "name": f"name {i}", "even": i % 2 == 0} for i in range(DEEP)]
        frozen = pmalloc.freeze(source, name="records")
        assert frozen == source
        assert pmalloc.pool_of(frozen).stats()["objects"] > 2 * DEEP
        thawed = pmalloc.thaw(frozen)
        assert thawed == source
        del frozen
        pool = pmalloc.pool_of(pmalloc.root("records"))
        pool.destroy(force=True)
        assert thawed == source

    in_child(work)

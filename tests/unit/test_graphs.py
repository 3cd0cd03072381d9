"""Random graphs, frozen and protected, come out of every door as what went in.

Four seeds, a thousand graphs each. A graph is drawn as a list of nodes that refer to each other by
number: parts are shared, and lists and dicts make cycles. What comes out is compared by a walk over
both at once that knows types, bits, order and which parts are one object; `==` knows too little of
that and does not end on cycles.
"""

import copy
import gc
import itertools
import math
import pickle
import struct
from collections.abc import Callable
from typing import Any

import pytest
from child import in_child
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from plain import plain_types

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
)
REFERENCES = st.lists(st.integers(0, 23), max_size=5)
PAIRS = st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23)), max_size=5)
NODES = st.one_of(
    SCALARS.map(lambda value: ("scalar", value)),
    st.sampled_from([("nan", float), ("nan", complex)]),
    st.tuples(st.sampled_from(["list", "tuple", "set", "frozenset"]), REFERENCES),
    st.tuples(st.just("dict"), PAIRS),
    st.tuples(st.just("dict"), PAIRS),
)
GRAPH = st.tuples(st.lists(NODES, min_size=1, max_size=24), st.sampled_from([list, dict, tuple, 1]))
HASHED_AT_MOST = 300  # shared tuples in tuples: each level may double what hash() walks over


class Builder:
    """Makes the objects of a drawn graph, in the order of their numbers."""

    def __init__(self, specs: list[tuple[str, Any]]):
        self.shells: dict[int, Any] = {
            number: {"list": list, "dict": dict}[kind]()
            for number, (kind, _) in enumerate(specs)
            if kind in ("list", "dict")
        }
        self.nodes: list[Any] = []
        self.weights: dict[int, int] = {id(None): 1}  # of what can be a key
        self.keys: list[Any] = [None]
        for number, (kind, what) in enumerate(specs):
            self.nodes.append(self.make(number, kind, what))
        for number, shell in self.shells.items():
            what = specs[number][1]
            if isinstance(shell, list):
                shell += [self.nodes[r % len(specs)] for r in what]
            else:
                shell |= {self.key(k): self.nodes[v % len(specs)] for k, v in what}

    def key(self, reference: int) -> Any:
        return self.keys[reference % len(self.keys)]

    def earlier(self, reference: int, number: int) -> Any:
        """What an immutable node refers to: it must be there, or be a list or dict to be."""
        if reference in self.shells:
            return self.shells[reference]
        return self.nodes[reference % number] if number else None

    def make(self, number: int, kind: str, what: Any) -> Any:
        if number in self.shells:
            return self.shells[number]
        if kind == "set":
            return {self.key(r) for r in what}
        parts: list[Any] = []
        if kind == "tuple":
            parts = [self.earlier(r, number) for r in what]
            node: Any = tuple(parts)
        elif kind == "frozenset":
            parts = [self.key(r) for r in what]
            node = frozenset(parts)
        elif kind == "nan":
            # Each its own bits, so that it can be told from the others.
            bits = struct.pack("<Q", (0x7FF8 << 48) + number + 1)
            [nan] = struct.unpack("<d", bits)
            node = nan if what is float else complex(number, nan)
        else:
            node = what
        weight = 1 + sum(self.weights.get(id(p), HASHED_AT_MOST) for p in parts)
        if weight <= HASHED_AT_MOST:
            self.weights[id(node)] = weight
            self.keys.append(node)
        return node


def build(graph: tuple[list[tuple[str, Any]], Any]) -> Any:
    specs, root = graph
    nodes = Builder(specs).nodes
    if root is dict:
        return dict(enumerate(nodes))
    return nodes[-1] if root == 1 else root(nodes)


# ---- comparing -----------------------------------------------------------------------------------

SETS = (set, frozenset)
CONTAINERS = (list, dict, tuple, *SETS)
FROZEN = {dict: FrozenDict, list: FrozenList, set: FrozenSet}


def form(value: Any) -> str:
    """Of a scalar or a key: the same text, the same type and bits."""
    kind = type(value).__name__
    if isinstance(value, float):
        return f"{kind} {struct.pack('<d', value).hex()}"
    if isinstance(value, complex):
        return f"{kind} {struct.pack('<2d', value.real, value.imag).hex()}"
    if isinstance(value, tuple):
        return f"{kind} ({', '.join(map(form, value))})"
    if isinstance(value, frozenset):
        return f"{kind} ({', '.join(sorted(map(form, value)))})"
    return f"{kind} {value!r}"


def is_nan(value: Any) -> bool:
    return isinstance(value, (float, complex)) and value != value


def holds_nan(key: Any) -> bool:
    """Such a key is found by identity alone, and where it stands in a set hangs on its address."""
    return is_nan(key) or (isinstance(key, (tuple, frozenset)) and any(map(holds_nan, key)))


def same(
    source: Any, other: Any, kinds: dict[type, type], shared: Callable[[Any], bool], order: bool
) -> list[tuple[Any, Any]]:
    """Asserts that other is source again; gives the pairs of containers.

    Args:
        kinds: what a type has become, where it has changed.
        shared: whether such a part, one object in source, is one object in other.
        order: whether sets are in the same order.
    """
    there: dict[int, Any] = {}
    back: dict[int, Any] = {}
    pairs: dict[tuple[int, int], tuple[Any, Any]] = {}
    todo = [(source, other)]
    while todo:
        a, b = todo.pop()
        assert type(b) is kinds.get(type(a), type(a))
        container = isinstance(a, CONTAINERS) and a != ()
        if not container:
            assert form(a) == form(b)
        if (container or is_nan(a)) and shared(a):
            assert there.setdefault(id(a), b) is b
            assert back.setdefault(id(b), a) is a
        if not container or (id(a), id(b)) in pairs:
            continue
        pairs[id(a), id(b)] = a, b
        assert len(a) == len(b)
        if isinstance(a, dict):
            todo += zip(a, b, strict=True)
            todo += zip(a.values(), b.values(), strict=True)
        elif isinstance(a, (list, tuple)) or (order and not any(map(holds_nan, a))):
            todo += zip(a, b, strict=True)
        else:
            todo += zip(sorted(a, key=form), sorted(b, key=form), strict=True)
    return list(pairs.values())


def paths(value: Any, most: int) -> tuple[int, bool]:
    """How many steps a naive walk like repr's makes, at least if over most; and whether it came
    upon a cycle or a NaN, which `==` does not survive."""
    steps, odd, above = 0, False, set[int]()

    def visit(value: Any) -> None:
        nonlocal steps, odd
        steps += 1
        if steps > most or not isinstance(value, CONTAINERS):
            odd |= is_nan(value)
            return
        if id(value) in above:
            odd = True
            return
        above.add(id(value))
        for part in value:
            visit(part)
            if isinstance(value, dict):
                visit(value[part])
        above.discard(id(value))

    visit(value)
    return steps, odd


# ---- the doors -----------------------------------------------------------------------------------

# What one door or another keeps as one object.
ALL: Callable[[Any], bool] = lambda _: True  # noqa: E731
NONE: Callable[[Any], bool] = lambda _: False  # noqa: E731
MUTABLE: Callable[[Any], bool] = lambda part: isinstance(part, (list, dict, set))  # noqa: E731
NO_SCALAR: Callable[[Any], bool] = lambda part: isinstance(part, CONTAINERS)  # noqa: E731


def read(source: Any, frozen: Any) -> None:
    """Reads all there is of one frozen container."""
    assert bool(source) == bool(frozen)
    if isinstance(source, dict):
        values = list(frozen.values())
        assert [key for key, _ in frozen.items()] == list(frozen.keys())
        assert all(a is b for a, b in zip(reversed(list(reversed(frozen))), frozen, strict=True))
        for key, own, value in zip(source, frozen, values, strict=True):
            assert frozen[own] is value
            assert frozen.get(own) is value
            assert own in frozen
            if not holds_nan(key):
                assert frozen[key] is value
                assert hash(own) == hash(key)
        assert object() not in frozen
        assert frozen.get("no such key", values) is values
    elif isinstance(source, (list, tuple)):
        assert all(frozen[i] is part for i, part in enumerate(frozen))
        assert all(frozen[~i] is part for i, part in enumerate(reversed(frozen)))
    else:
        assert all(member in frozen for member in frozen)
        assert all(member in frozen for member in source if not holds_nan(member))
        assert object() not in frozen
        assert frozen == frozen | frozen == frozen & frozen
    if type(source) in FROZEN:
        with pytest.raises(TypeError, match="unhashable"):
            hash(frozen)


def shallow(source: Any, frozen: Any) -> None:
    """copy.copy gives a plain container of the same parts."""
    copied = copy.copy(frozen)
    assert type(copied) is type(source)
    if isinstance(source, (set, frozenset)):
        parts = {id(member) for member in frozen}
        assert len(copied) == len(parts)
        assert all(id(member) in parts for member in copied)
    else:
        assert all(a is b for a, b in zip(copied, frozen, strict=True))
    if isinstance(source, dict):
        assert all(a is b for a, b in zip(copied.values(), frozen.values(), strict=True))


def check(source: Any, frozen: Any) -> bool:
    """Through all doors; says whether there was a cycle or a NaN in it."""
    pairs = same(source, frozen, FROZEN, shared=ALL, order=True)
    for pair in pairs:
        read(*pair)
        shallow(*pair)

    steps, odd = paths(source, 2000)
    if steps <= 2000 and not any(isinstance(a, SETS) and any(map(holds_nan, a)) for a, _ in pairs):
        assert repr(frozen) == repr(source)
    if steps <= 2000 and not odd:
        assert frozen == source
        assert source == frozen

    thawed = pmalloc.thaw(frozen)
    same(source, thawed, {}, shared=ALL, order=False)
    assert plain_types(thawed)

    # A root that is a tuple is no type of ours: copy and pickle take it apart themselves, and meet
    # the frozen parts one by one. A str stays the frozen one, as any str is its own copy.
    ours = type(source) in FROZEN
    copied = copy.deepcopy(frozen)
    same(source, copied, {}, shared=ALL if ours else MUTABLE, order=False)
    assert plain_types(copied) or not ours
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        loaded = pickle.loads(pickle.dumps(frozen, protocol))
        same(source, loaded, {}, shared=NO_SCALAR if ours else NONE, order=False)
        assert plain_types(loaded)
    return odd


@pytest.mark.parametrize("number", SEEDS)
def test_graphs(number: int):
    names = (f"graph {i}" for i in itertools.count())
    finished: list[pmalloc.Pool] = []
    tally = {"graphs": 0, "odd": 0}

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
            odd = check(source, frozen)
        except BaseException:
            finished.clear()  # a traceback holds frozen objects from now on
            raise
        del frozen
        tally["graphs"] += 1
        tally["odd"] += odd
        finished.append(pool)
        if len(finished) == 50:
            destroy_finished()

    def work() -> None:
        run()
        assert tally["graphs"] >= GRAPHS
        assert tally["odd"] >= GRAPHS / 10

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

"""Random graphs, frozen and protected, come out of every door as what went in.

Four seeds, a thousand graphs each. graph_draw.py draws them, graph_compare.py compares.
"""

import copy
import gc
import itertools
import pickle
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import graph_kinds as k
import pytest
from child import in_child
from graph_compare import CONTAINERS, FROZEN, SETS, THAWED, by_address, is_container, is_nan, same
from graph_draw import GRAPH, build
from hypothesis import HealthCheck, Phase, given, seed, settings

import pmalloc
from pmalloc import FrozenDict, FrozenList

SEEDS = [20_150_731, 20_170_607, 20_180_423, 20_181_023]
GRAPHS = 1000
DEEP = 1_000_000

# ---- walks that stop -----------------------------------------------------------------------------


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

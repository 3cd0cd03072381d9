"""Dicts and lists that are born in a pool: ordinary until they are settled, frozen from then on."""

import collections
import contextlib
import gc
import os
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from child import in_child

import pmalloc
from pmalloc import FrozenDict, FrozenList, FrozenSet, Pool, _core

ROUNDS = 20_000


@dataclass
class Point:
    x: Any


@contextlib.contextmanager
def reading_stderr() -> Iterator[list[str]]:
    """What the process writes there meanwhile, whoever writes it."""
    texts: list[str] = []
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield texts
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            texts.append(file.read().decode())


def settle(pool: Pool, **names: Any) -> Any:
    """Returns what was refused. Whether somebody holds a part is not asked."""
    root, refused, _, _, leftovers = pool._settle(names, [], False)
    assert root is not None
    assert leftovers is not None
    assert all(root[key] is value for key, value in names.items())
    del leftovers
    pool.protect()
    return refused


def test_it_is_ordinary_until_the_end(name: str) -> None:
    pool = Pool(name)
    source = {"a": [1]}
    born = pool._born(source)
    items = pool._born([1, 2])
    assert type(born) is dict
    assert type(items) is list
    assert born == source
    assert born is not source
    assert born["a"] is source["a"]
    assert gc.is_tracked(born)
    assert pmalloc.pool_of(born) is pool
    assert not pmalloc.is_protected(born)
    for i in range(ROUNDS):
        born[i] = [i]
        items.append(i)
    assert len(born) == ROUNDS + 1
    for i in range(ROUNDS):
        del born[i]
    items.sort(reverse=True)
    items.clear()
    born |= {"b": 2}
    assert born.pop("b") == 2
    gc.collect()
    assert (born, items) == (source, [])
    assert settle(pool, born=born, items=items) == []


def test_the_same_object_is_frozen(name: str) -> None:
    pool = Pool(name)
    born = pool._born({"roles": {"admin": ["root"]}, 1: {2, 3}})
    items = pool._born([born, (1, [2])])
    born["items"] = items
    born["self"] = born
    aliases = {"one": born, "two": items}
    address = id(born), id(items)
    settle(pool, born=born, items=items)
    assert (id(born), id(items)) == address
    assert aliases["one"] is born
    assert type(born) is FrozenDict
    assert type(items) is FrozenList
    assert born["self"] is born
    assert born["items"] is items
    assert items[0] is born
    assert type(born["roles"]) is FrozenDict
    assert type(born["roles"]["admin"]) is FrozenList
    assert type(born[1]) is FrozenSet
    assert not gc.is_tracked(born)
    assert pmalloc.is_protected(born)
    assert pmalloc.is_protected(items)
    root: Any = pmalloc.root(name)
    assert root["born"] is born
    gc.collect()
    for i in range(ROUNDS):
        assert born["roles"]["admin"][0] == "root"
        assert items[1][1][0] == 2
        assert list(born) == ["roles", 1, "items", "self"]
        assert len(items) == len(list(items)) == 2
        assert -i not in born
    assert pmalloc.thaw(born["roles"]) == {"admin": ["root"]}


def test_code_that_is_specialised_stops_at_the_end(name: str) -> None:
    pool = Pool(name)
    born: dict[Any, Any] = pool._born({"k": 0})
    items: list[int] = pool._born([0])

    def store_key(i: int) -> None:
        born["k"] = i

    def store_item(i: int) -> None:
        items[0] = i

    def append(i: int) -> None:
        items.append(i)

    def update(i: int) -> None:
        born.update(k=i)

    def remove(i: int) -> None:
        items.append(i)
        del items[-1]

    def add(i: int) -> None:
        nonlocal items
        items += [i]

    def merge(i: int) -> None:
        nonlocal born
        born |= {"k": i}

    changes: list[Callable[[int], None]] = [
        store_key, store_item, append, update, remove, add, merge,
    ]  # fmt: skip
    for change in changes:
        for i in range(ROUNDS):
            change(i)
    expected = len(items), dict(born)
    settle(pool, born=born, items=items)
    for change in changes:
        for i in range(100):
            with pytest.raises(TypeError):
                change(i)
    assert (len(items), dict(born)) == expected


@pytest.mark.parametrize("size", [0, 1, 5, 30, 31, 1000, 70_000])
def test_every_size(name: str, size: int) -> None:
    pool = Pool(name)
    born: dict[Any, Any] = pool._born({})
    strs: dict[str, Any] = pool._born({})
    items: list[int] = pool._born([])
    for i in range(size):
        born[i] = strs[f"k{i}"] = i * 1000
        items.append(i * 1000)
    settle(pool, born=born, strs=strs, items=items)
    numbers = [i * 1000 for i in range(size)]
    assert list(born.values()) == list(strs.values()) == list(items) == numbers
    assert list(born) == list(range(size))
    assert born == dict(enumerate(numbers))
    assert all(strs[f"k{i}"] == i * 1000 for i in range(size))
    assert born.copy() == born
    assert list(items[:]) == numbers


def test_iterators_outlive_the_end(name: str) -> None:
    pool = Pool(name)
    born = pool._born({i: str(i) for i in range(10)})
    items = pool._born(list(range(10)))
    keys, values, each, view = iter(born), iter(born.values()), iter(items), born.items()
    for _ in range(5):
        next(keys), next(values), next(each)
    settle(pool, born=born, items=items)
    assert list(keys) == list(range(5, 10))
    assert list(values) == [str(i) for i in range(5, 10)]
    assert list(each) == list(range(5, 10))
    assert dict(view) == born


def test_while_it_is_iterated_over(name: str) -> None:
    pool = Pool(name)
    items = pool._born([1, 2, 3])
    born = pool._born({"a": 1, "b": 2})
    seen: list[Any] = []
    for item in items:
        if item == 2:
            settle(pool, born=born, items=items)
        seen.append(item)
    assert seen == [1, 2, 3]


def test_references_of_frames_are_not_counted_any_more(name: str) -> None:
    """In a child: its pages tell that nobody wrote, and a report would be on its stderr."""

    def work() -> None:
        pool = Pool(name)
        born = pool._born({"x": 1})
        items = pool._born([born, 2])

        def generate() -> Any:
            mine, own = born, items
            yield 1
            for _ in own:
                yield mine

        def fail() -> None:
            mine = items
            raise ValueError(mine)

        async def wait() -> Any:
            mine = born
            await Pause()
            return mine

        class Pause:
            def __await__(self) -> Any:
                yield items

        started, coroutine = generate(), wait()
        next(started)
        coroutine.send(None)
        try:
            fail()
        except ValueError as error:
            kept = error
        mine, own = born, items
        with reading_stderr() as stderr:
            settle(pool, born=born, items=items)
            for _ in range(ROUNDS):
                other = mine
                assert other["x"] == 1
                for item in own:
                    assert item in (born, 2)
            assert list(started) == [born, born]
            with pytest.raises(StopIteration):
                coroutine.send(None)
            del kept, mine, own, other, item
        assert stderr == [""]

    in_child(work)


def test_parts_of_several_are_one(name: str) -> None:
    pool = Pool(name)
    shared = [1]
    first, second = pool._born({"s": shared}), pool._born([shared])
    del shared
    settle(pool, first=first, second=second)
    assert first["s"] is second[0]


def test_born_of_another_pool_stays_as_it_is(name: str) -> None:
    early, late = Pool(name), Pool(f"{name} late")
    plugin: dict[str, Any] = late._born({"x": 1})
    hooks: list[Any] = early._born([plugin])
    settle(early, hooks=hooks)
    assert hooks[0] is plugin
    assert type(plugin) is dict
    plugin["y"] = hooks
    settle(late, plugin=plugin)
    assert hooks[0] is plugin
    assert type(plugin) is FrozenDict
    assert plugin["y"] is hooks


def test_freeze_copies_what_is_not_settled(name: str) -> None:
    pool = Pool(name)
    born = pool._born({"x": [1]})
    copy = pmalloc.freeze({"born": born})
    born["x"] = 2
    assert copy == {"born": {"x": [1]}}
    settle(pool, born=born)
    assert pmalloc.freeze(born) is born


def test_what_cannot_be_frozen_stays_outside_and_is_listed(name: str) -> None:
    pool = Pool(name)
    lock, other = threading.Lock(), threading.Lock()
    born = pool._born({"a": {"lock": lock}, "b": [other, other]})
    refused = settle(pool, born=born)
    assert [(path, value) for path, value, _ in refused] == [
        ("['born']['a']['lock']", lock),
        ("['born']['b'][0]", other),
        ("['born']['b'][1]", other),
    ]
    assert all("register() its type" in advice for _, _, advice in refused)
    assert born["a"]["lock"] is lock
    assert type(born["a"]) is FrozenDict
    assert pmalloc.is_protected(born)


def test_an_open_pool_is_neither_protected_nor_destroyed(name: str) -> None:
    pool = Pool(name)
    born = pool._born([])
    for attempt in (
        pool.protect,
        lambda: pool.protect(revoke=True, seal=True),
        pool.destroy,
        lambda: pool.destroy(force=True),
    ):
        with pytest.raises(pmalloc.PmallocError, match=r"an init phase|frozen objects"):
            attempt()
    assert pool.state == "open"
    born.append(1)
    with pytest.raises(ValueError, match="1 dicts and lists were born in it, and names has 0"):
        pool._settle({}, [], False)
    settle(pool, born=born)
    assert born == [1]


@pytest.mark.parametrize("mode", ["auto_ro", "auto_wr", "start_wr"])
def test_not_in_pools_that_close_by_themselves(name: str, mode: Any) -> None:
    pool = Pool(name, mode=mode)
    with pytest.raises(pmalloc.PmallocError, match=f"in mode '{mode}' its memory is not open"):
        pool._born({})


def test_what_cannot_be_born(name: str) -> None:
    pool = Pool(name)
    for value in (1, "x", (), {1}, collections.OrderedDict(), Point(1), pmalloc.freeze([1])):
        with pytest.raises(TypeError, match="a dict or a list is needed"):
            pool._born(value)  # type: ignore[call-overload]
    pool.protect()
    with pytest.raises(pmalloc.ProtectedError, match="cannot put a dict or list into pool"):
        pool._born({})


class Meddler:
    """Whoever hashes it changes what is being frozen."""

    target: Any = None

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        if self.target is not None:
            self.target.clear()
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


@pytest.mark.parametrize("make", [lambda: {"x": 1}, lambda: [1]])
def test_a_hash_that_writes_is_found_out(name: str, make: Callable[[], Any]) -> None:
    pool = Pool(name)
    born: Any = pool._born(make())
    keys: Any = pool._born({Meddler(1): 1, Meddler(2): 2})
    Meddler.target = born
    try:
        with pytest.raises(RuntimeError, match="changed while its init phase ended"):
            pool._settle({"born": born, "keys": keys}, [], False)
    finally:
        Meddler.target = None
    assert type(born) is type(make())
    settle(pool, born=born, keys=keys)
    assert len(keys) == 2


def test_not_while_it_is_sorted(name: str) -> None:
    pool = Pool(name)
    items = pool._born([3, 1, 2])

    def key(item: int) -> int:
        with pytest.raises(RuntimeError, match="a list is being sorted"):
            pool._settle({"items": items}, [], False)
        return item

    items.sort(key=key)
    settle(pool, items=items)
    assert items == [1, 2, 3]


def test_old_contents_are_let_go_of_with_the_leftovers(name: str) -> None:
    class Told:
        def __del__(self) -> None:
            ended.append(type(born))

    ended: list[type] = []
    pool = Pool(name)
    born = pool._born({"x": Point(1)})
    born["x"].told = Told()
    pmalloc.register(Told, replace=lambda _: "told")
    _, refused, held, _, leftovers = pool._settle({"born": born}, [], False)
    assert (refused, held, ended) == ([], [], [])
    pool.protect()
    del leftovers
    gc.collect()
    assert ended == [FrozenDict]
    assert born["x"].told == "told"


# ---- what is held elsewhere ----------------------------------------------------------------------


def held(born: Any, *originals: Any, strict: bool = False) -> list[Any]:
    pool = pmalloc.pool_of(born)
    assert pool is not None
    kept = list(originals)
    del originals
    done, _, lines, inside, _ = pool._settle({"born": born}, kept, strict)
    assert (done is None) is (strict and bool(lines))
    assert all(_core.in_graph(inside, line[-1]) for line in lines)
    return [line[-1] for line in lines]


class Slots:
    __slots__ = ("x",)

    def __init__(self, x: Any) -> None:
        self.x = x


class Table(dict[str, Any]):
    pass


@dataclass
class Tree:
    left: Any = None
    right: Any = None


@pytest.mark.parametrize(
    ("make", "find"),
    [
        (lambda: [[1]], lambda s: s[0]),
        (lambda: [{"a": {"b": 1}}], lambda s: s[0]["a"]),
        (lambda: [{1, 2}], lambda s: s[0]),
        (lambda: [bytearray(b"x")], lambda s: s[0]),
        (lambda: [Tree(Tree())], lambda s: s[0].left),
        (lambda: [Tree()], lambda s: s[0].__dict__),
        (lambda: [collections.OrderedDict(a=1)], lambda s: s[0]),
        (lambda: [collections.OrderedDict(a=[1])], lambda s: s[0]["a"]),
        (lambda: [types.SimpleNamespace(a=[1])], lambda s: s[0].a),
        (lambda: [Slots([1])], lambda s: s[0].x),
        (lambda: [Table(a=[1])], lambda s: s[0]["a"]),
    ],
)
def test_an_original_that_is_held(
    name: str, make: Callable[[], list[Any]], find: Callable[[Any], Any]
) -> None:
    for strict in (True, False):
        pool = Pool(f"{name} {strict}")
        born = pool._born(make())
        assert held(born, strict=True) == []
        pool = Pool(f"{name} {strict} held")
        born = pool._born(make())
        holder = find(born)
        found = held(born, strict=strict)
        assert len(found) == 1
        assert found[0] is holder
        assert (type(born) is list) is strict


def test_what_is_reached_through_a_tuple_is_held(name: str) -> None:
    pool = Pool(name)
    shared = ("a", frozenset([1]), (1, [2]))
    born = pool._born({"t": shared})
    assert [value is shared[2][1] for value in held(born)] == [True]


def test_what_does_not_change_may_be_held(name: str) -> None:
    pool = Pool(name)
    parts: list[Any] = [("a", (1, 2)), frozenset([1]), "text" * 9, 10**50, 2.5, range(9), len, Tree]
    born = pool._born([*parts, pmalloc.freeze([1])])
    assert held(born) == []


def test_only_the_first_of_a_branch_is_told(name: str) -> None:
    pool = Pool(name)
    born = pool._born({"a": {"b": {"c": [1]}}})
    branch = born["a"]
    assert held(born) == [branch]


def test_an_original_of_the_root_is_held(name: str) -> None:
    pool = Pool(name)
    original = {"a": [1]}
    born = pool._born(original)
    kept = [original]
    _, _, lines, _, _ = pool._settle({"born": born}, kept, False)
    assert [line[-1] is original for line in lines] == [True]
    pool = Pool(f"{name} again")
    source = [{"a": [1]}]
    born = pool._born(source[0])
    _, _, lines, _, _ = pool._settle({"born": born}, source, False)
    assert lines == []


def test_cycles_are_not_held(name: str) -> None:
    pool = Pool(name)
    tree = Tree()
    tree.left = tree
    tree.right = [tree, {"t": tree}]
    born = pool._born({"tree": tree})
    born["me"] = born
    tree.right.append(born)
    del tree
    assert held(born) == []


def test_a_graph_of_many_is_not_held(name: str) -> None:
    pool = Pool(name)
    born = pool._born({i: {"x": [i], "y": (i, {i})} for i in range(ROUNDS)})
    kept = born[77]["y"][1]
    assert held(born) == [kept]


# ---- the process ---------------------------------------------------------------------------------

ENDS = """
import gc, sys, pmalloc
pool = pmalloc.Pool("ends")
born = pool._born({"x": [1, {2: 3}]})
items = pool._born([born])
born["items"] = items
gc.collect()
if sys.argv[1] != "open":
    pool._settle({"born": born, "items": items}, [], False)
if sys.argv[1] == "protected":
    pool.protect()
if sys.argv[1] == "given back":
    del born, items
    pool.destroy(force=True)
gc.collect()
print("ended")
"""


@pytest.mark.parametrize("how", ["open", "settled", "protected", "given back"])
@pytest.mark.parametrize("options", [[], ["-X", "dev"], ["-X", "tracemalloc"]])
def test_the_interpreter_ends_cleanly(how: str, options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *options, "-c", ENDS, how],
        env={**os.environ, "PYTHONPATH": str(Path(pmalloc.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")

"""freeze and thaw with registration, driven at random beside a model in plain Python.

A machine has four classes of its own, fresh and without any registration. What a source should
become is written down before it is frozen, by a walk that knows the registrations of that moment;
every frozen object is as it was written down from then on, whatever is registered, frozen,
protected or destroyed later. Objects that misbehave in their __hash__, their __eq__, or in what
was registered for them may fail a freeze; they may harm no pool.
"""

import copy
import gc
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar, NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from machines import CountedMachine, drive

import pmalloc

NAMES = ["x", "y", "z", *(f"attribute_{i}" for i in range(37))]
names = count(1)


class Boom(Exception):  # noqa: N818
    """Raised by what a user registered, or by a __hash__."""


def classes() -> list[type]:
    """Four classes, one with slots, one derived, one that is hashed and compared by its content."""

    class Plain:
        pass

    class Derived(Plain):
        z = "of the class"

    class Slots:
        __slots__ = ("__weakref__", "x", "y", "z")

    @dataclass(unsafe_hash=True)
    class Data:
        x: Any = None
        y: Any = None

    return [Plain, Derived, Slots, Data]


# What is registered for a class. The last ones may break a freeze.
HOW = ["external", "omit", "list", "next", "frozen", "raise", "same", "sibling", "mutate", "anew"]
WILD = ("mutate", "anew")


class Frozen(NamedTuple):
    """A frozen object, what it should be, and what it hangs on."""

    value: Any
    text: Any  # None: not known
    before: set[int]  # ids of what was frozen earlier: there a description ends
    pools: set[int]  # numbers of models


@dataclass
class Model:
    pool: pmalloc.Pool
    number: int
    state: str = "open"
    frozen: list[Frozen] = field(default_factory=list)
    kept: list[weakref.ref[Any]] = field(default_factory=list)  # externals
    stored: list[Any] = field(default_factory=list)  # what a __hash__ has got hold of
    depends: set[int] = field(default_factory=set)  # numbers of the models it points into


# A value is drawn as instructions: its own kind, and what is in it.
LEAVES = st.one_of(
    st.sampled_from([("scalar", x) for x in (None, True, 1, 2.5, "text", b"bytes", 3**50)]),
    st.integers(0, 999).map(lambda number: ("frozen", number)),
)


def around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Something with such parts, mostly an instance."""
    instance = st.tuples(
        st.just("instance"),
        st.integers(0, 3),
        st.dictionaries(st.sampled_from([*"xyxyxy", *NAMES]), inner, max_size=5),
    )
    return st.one_of(
        instance,
        instance,
        st.tuples(st.sampled_from(["list", "tuple", "dict"]), st.lists(inner, max_size=4)),
        st.tuples(st.just("twice"), inner),
        st.tuples(st.just("key"), st.integers(0, 3), inner),
    )


VALUES = around(around(LEAVES) | LEAVES | around(around(LEAVES)))
SELDOM = st.integers(0, 9).map(lambda number: number == 7)
NUMBERS = st.integers(0, 999)


class Source(NamedTuple):
    """What a freeze should make of it."""

    text: Any
    problems: list[type[BaseException]]


class Machine(CountedMachine):
    def __init__(self):
        super().__init__()
        self.classes = classes()
        self.how: dict[type, str] = {}
        self.models: list[Model] = []
        self.made: dict[int, weakref.ref[Any]] = {}  # by id: what next_one() gave
        self.victims: list[Any] = []  # what a stand-in of the freeze under way may change
        self.newest = 0  # number of the pool that is frozen into
        self.create()

    def model(self, number: int) -> Model:
        return self.models[number % len(self.models)]

    def open_model(self, number: int) -> Model:
        """Seldom one that is not."""
        there = [model for model in self.models if model.state == "open"]
        return there[number % len(there)] if there and number % 8 else self.model(number)

    def all_frozen(self) -> list[Frozen]:
        return [f for model in self.models for f in model.frozen]

    # ---- the source, and what it should become ----

    def build(self, what: Any, pools: set[int]) -> Any:
        kind, *rest = what
        if kind == "scalar":
            return rest[0]
        if kind == "frozen":
            # Of pools made no later, so that no two point into each other: neither could go first.
            there = [f for f in self.all_frozen() if max(f.pools) <= self.newest]
            if not there:
                return "nothing frozen yet"
            chosen = there[rest[0] % len(there)]
            pools |= chosen.pools
            return chosen.value
        if kind == "instance":
            cls, attributes = self.classes[rest[0]], rest[1]
            made = cls.__new__(cls)
            for name, inner in attributes.items():
                if cls in (self.classes[0], self.classes[1]) or name in ("x", "y"):
                    setattr(made, name, self.build(inner, pools))
            return made
        if kind == "twice":
            part = self.build(rest[0], pools)
            return [part, (part, part)]
        if kind == "key":
            cls = self.classes[rest[0]]
            made = cls()
            if cls is self.classes[3]:
                made.x = "key"
            return {made: self.build(rest[1], pools), (made, 1): 2}
        parts = [self.build(inner, pools) for inner in rest[0]]
        if kind == "dict":
            return dict(zip(("a", "b", 3, (4, "d")), parts, strict=False))
        return parts if kind == "list" else tuple(parts)

    def said(self, cls: type) -> tuple[type, str] | None:
        for base in cls.__mro__:
            if base in self.how:
                return base, self.how[base]
        return None

    def stand_in(self, cls: type, how: str) -> Callable[[Any], Any]:
        def stand(obj: Any) -> Any:
            state = dict(attributes(obj))
            if how == "list":
                return ["stands for", *state.values()]
            if how == "next":
                return self.next_one(type(obj), state)
            if how == "frozen":
                with pmalloc.Pool(f"inner {next(names)}") as pool:  # freezes while freezing
                    frozen = pool.freeze(["inner"])
                thawed = pmalloc.thaw(frozen)
                del frozen
                pool.destroy(force=True)
                return thawed
            if how == "raise":
                raise Boom("said the one that stands in")
            if how == "same":
                return obj
            if how == "sibling":
                return type(obj).__new__(type(obj))
            if how == "mutate":
                for part in self.victims:
                    change(part)
                return ["mutated"]
            pmalloc.register(cls, external=True)  # anew
            self.how[cls] = "external"
            return ["registered anew"]

        return stand

    def next_one(self, cls: type, state: dict[Any, Any]) -> Any:
        """An instance of the next class but one that is no relative, at last a list."""
        number = max(1, self.classes.index(cls)) + 1
        if number == len(self.classes):
            return ["the last", *state.values()]
        made = self.classes[number].__new__(self.classes[number])
        self.made[id(made)] = weakref.ref(made)
        for name in ("x", "y"):
            if name in state:
                setattr(made, name, state[name])
        return made

    def external(self, value: Any) -> tuple[str, Any]:
        """One that stands in is another one each time that it is asked for."""
        ref = self.made.get(id(value))  # may be of one that is gone
        made = ref is not None and ref() is value
        return "external", value.__class__.__qualname__ if made else id(value)

    def become(self, value: Any, allowed: tuple[type, ...], problems: list[Any]) -> Any:
        """What freeze should make of it, in words; what should fail is added to problems."""
        if pmalloc.pool_of(value) is not None:
            return "frozen before", id(value)
        if isinstance(value, list):
            return "list", [self.become(part, allowed, problems) for part in value]
        if isinstance(value, tuple):
            return "tuple", [self.become(part, allowed, problems) for part in value]
        if isinstance(value, dict):
            keys = [self.become(key, allowed, problems) for key in value]
            # What stands for a key may be none, or the same as for another.
            if any("list" in str(key) or "frozen before" in str(key) for key in keys):
                problems.append(TypeError)
            if any(keys.count(key) > 1 for key in keys):
                problems.append(pmalloc.UnfreezableError)
            parts = [self.become(part, allowed, problems) for part in value.values()]
            return "dict", list(zip(keys, parts, strict=True))
        cls = type(value)
        if cls not in self.classes:
            return cls.__name__, repr(value)
        base, how = self.said(cls) or (cls, "")
        if isinstance(value, allowed) or how == "external":
            return self.external(value)
        if how in ("list", "next", "frozen"):
            return self.become(self.stand_in(base, how)(value), allowed, problems)
        if how in ("raise", "same", "sibling"):
            problems.append(Boom if how == "raise" else pmalloc.UnfreezableError)
            return None
        if how in WILD:
            problems.append(Exception)
            return None
        left_out = "y" if how == "omit" else None
        return cls.__qualname__, [
            (name, self.become(part, allowed, problems))
            for name, part in attributes(value)
            if name != left_out
        ]

    opened: ClassVar[list[Any]] = []

    def describe(self, value: Any, mine: set[int], before: set[int]) -> Any:
        """The same of what is there; what stays outside may have been made a cycle meanwhile."""
        if any(value is one for one in self.opened):
            return "again"
        self.opened.append(value)
        try:
            return self.describe_once(value, mine, before)
        finally:
            self.opened.pop()

    def describe_once(self, value: Any, mine: set[int], before: set[int]) -> Any:
        """The same, without regard to cycles."""
        pool = pmalloc.pool_of(value)
        if pool is not None and id(value) in before:
            return "frozen before", id(value)
        cls = value.__class__
        if cls in (pmalloc.FrozenList, list):
            return "list", [self.describe(part, mine, before) for part in value]
        if cls is tuple:
            return "tuple", [self.describe(part, mine, before) for part in value]
        if cls in (pmalloc.FrozenDict, dict):
            return "dict", [
                (self.describe(key, mine, before), self.describe(part, mine, before))
                for key, part in value.items()
            ]
        if cls not in self.classes:
            return cls.__name__, repr(value)
        if pool is None and not mine:
            return self.external(value)
        return cls.__qualname__, [
            (name, self.describe(part, mine, before)) for name, part in attributes(value)
        ]

    # ---- the rules ----

    @rule()
    @precondition(lambda self: sum(m.state == "open" for m in self.models) < 3)
    def create(self) -> None:
        number = next(names)
        self.models.append(Model(pmalloc.Pool(f"freeze model {number}"), number))

    @rule(which=st.integers(0, 3), how=st.sampled_from([*HOW[:5], *HOW]))
    def register(self, which: int, how: str) -> None:
        cls = self.classes[which]
        if how == "external":
            pmalloc.register(cls, external=True)
        elif how == "omit":
            pmalloc.register(cls, omit=("y",))
        else:
            pmalloc.register(cls, replace=self.stand_in(cls, how))
        self.how[cls] = how

    @rule(which=st.integers(0, 3))
    def register_in_vain(self, which: int) -> None:
        cls: Any = self.classes[which]
        with pytest.raises(ValueError, match="needs replace= or external="):
            pmalloc.register(cls)
        with pytest.raises(ValueError, match="needs replace= or external="):
            pmalloc.register(cls, external=True, omit=("x",))
        with pytest.raises(TypeError, match="needs a class"):
            pmalloc.register(cls(), external=True)

    @rule(number=NUMBERS, what=VALUES, allow=st.sets(st.integers(0, 3), max_size=1))
    def freeze(self, number: int, what: Any, allow: set[int]) -> None:
        model = self.open_model(number)
        pools: set[int] = set()
        self.newest = model.number
        source = self.build(what, pools)
        allowed = tuple(self.classes[i] for i in allow)
        problems: list[type[BaseException]] = []
        text = self.become(source, allowed, problems)
        if model.state != "open":
            error = pmalloc.ProtectedError if model.state == "protected" else pmalloc.DestroyedError
            with pytest.raises(error):
                model.pool.freeze(source, externals=allowed)
            return
        if text[0:1] == ("external",) if text else False:
            problems.append(pmalloc.UnfreezableError)
        before = {id(f.value) for f in self.all_frozen()} | inner_ids(
            [f.value for f in self.all_frozen()]
        )
        stats = model.pool.stats()
        self.victims = mutables(source)
        model.depends |= pools
        if problems:
            try:
                frozen = model.pool.freeze(source, externals=allowed)
            except tuple(problems):
                pass
            else:
                assert {Exception, TypeError, pmalloc.UnfreezableError}.intersection(problems)
                assert walk(frozen)
                model.frozen.append(Frozen(frozen, None, before, pools | {model.number}))
            if not {Exception, TypeError}.intersection(problems):
                assert model.pool.stats() == stats
            return
        frozen = model.pool.freeze(source, externals=allowed)
        assert model.pool.root is frozen
        assert self.describe(frozen, set(), before) == text
        model.kept += [weakref.ref(part) for part in externals_in(frozen, self.classes)]
        model.frozen.append(Frozen(frozen, text, before, pools | {model.number}))

    @rule(number=NUMBERS)
    def thaw(self, number: int) -> None:
        there = self.all_frozen()
        if not there:
            return
        chosen = there[number % len(there)]
        if chosen.text is None or "frozen before" in repr(chosen.text):
            assert len(walk(pmalloc.thaw(chosen.value))) >= 1
            return
        for thawed in (pmalloc.thaw(chosen.value), copy.deepcopy(chosen.value)):
            if not isinstance(chosen.value, (str, bytes, int, float, tuple)):
                assert thawed is not chosen.value
            if not isinstance(chosen.value, tuple):  # copy takes those apart by itself
                assert words(self.describe(thawed, {1}, set())) == words(
                    self.describe(chosen.value, {1}, set())
                )

    @rule(number=NUMBERS)
    def refuses(self, number: int) -> None:
        for frozen in self.all_frozen():
            value = frozen.value
            if value.__class__ in self.classes and pmalloc.pool_of(value) is not None:
                with pytest.raises(AttributeError, match="is frozen in pool 'freeze model"):
                    value.x = 1
                with pytest.raises(AttributeError, match="is frozen in pool 'freeze model"):
                    del value.x
                assert isinstance(value, type(value))

    @rule(number=NUMBERS, mode=st.sampled_from(["raise", "store", "late"]))
    def hash_that_misbehaves(self, number: int, mode: str) -> None:
        model = self.open_model(number)
        if model.state != "open":
            return
        stored = model.stored
        armed = False

        class Hostile:
            def __hash__(self) -> int:
                if armed:
                    if mode != "raise":
                        stored.append(self)
                    if mode != "store":
                        raise Boom
                return 7

        made = Hostile()
        source = {made: [1.5], "s": {made, "other"}, (made, 2): frozenset({made})}
        armed = True
        try:
            frozen = model.pool.freeze(source)
        except Boom:
            assert mode != "store"
        else:
            assert mode == "store"
            armed = False
            assert len(frozen) == 3
            assert all(frozen[key] is part for key, part in frozen.items())
            del frozen
        armed = False
        assert all(hash(one) == 7 for one in stored)

    @rule(number=NUMBERS)
    def eq_that_mutates(self, number: int) -> None:
        model = self.open_model(number)
        if model.state != "open":
            return
        lists: list[list[Any]] = []

        class Sly:
            armed = False

            def __hash__(self) -> int:
                return 1

            def __eq__(self, other: object) -> bool:
                if Sly.armed:
                    for victim in lists:
                        victim.clear()
                return self is other

        source = {Sly(): [1], Sly(): {Sly(): 2, Sly(): 3}}
        frozen = model.pool.freeze(source)
        mixed: list[Any] = [[1, 2.5, "three"], frozen, {Sly(): frozen}]
        lists += [mixed, mixed[0]]
        Sly.armed = True
        thawed = pmalloc.thaw(mixed)
        assert thawed is not mixed
        assert len(pmalloc.thaw(frozen)) == 2
        assert len(copy.deepcopy(frozen)) == 2
        Sly.armed = False

    @rule(number=NUMBERS, now=SELDOM)
    def protect(self, number: int, now: bool) -> None:
        model = self.model(number)
        if model.state == "open":
            if not now:
                return
            model.pool.protect()
            model.state = "protected"
        else:
            with pytest.raises((pmalloc.ProtectedError, pmalloc.DestroyedError)):
                model.pool.protect()

    @rule(number=NUMBERS, now=SELDOM)
    def destroy(self, number: int, now: bool) -> None:
        model = self.model(number)
        if model.state == "open" and not now:
            return
        if model.state == "destroyed":
            with pytest.raises(pmalloc.DestroyedError):
                model.pool.destroy(force=True)
            return
        if model.pool.stats()["objects"]:
            with pytest.raises(pmalloc.PmallocError, match="frozen objects live in it"):
                model.pool.destroy()
        # What points into it goes first, with the externals that the other pool keeps alive.
        for index, other in enumerate(self.models):
            if other.state != "destroyed" and model.number in other.depends - {other.number}:
                self.destroy(index, now=True)
        model.frozen.clear()
        model.stored.clear()
        self.victims = []
        gc.collect()  # garbage holds frozen objects, too
        model.pool.destroy(force=True)
        model.state = "destroyed"
        if not model.kept:
            return
        gc.collect()
        others = [id(r()) for m in self.models if m is not model for r in m.kept]
        for ref in model.kept:
            assert ref() is None or id(ref()) in others
        model.kept.clear()

    @invariant()
    def all_is_as_it_should_be(self) -> None:
        for model in self.models:
            assert model.pool.state == model.state
            assert all(ref() is not None for ref in model.kept)
            for frozen in model.frozen:
                if frozen.text is None:
                    assert walk(frozen.value)
                else:
                    assert self.describe(frozen.value, set(), frozen.before) == frozen.text
                if pmalloc.pool_of(frozen.value) is model.pool:
                    assert pmalloc.is_protected(frozen.value) is (model.state == "protected")
                    assert not gc.is_tracked(frozen.value)

    def teardown(self) -> None:
        if sys.exception() is not None:  # a traceback holds frozen objects from now on
            return
        for number, model in enumerate(self.models):
            if model.state != "destroyed":
                self.destroy(number, now=True)


def attributes(value: Any) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    if value.__class__.__dictoffset__:
        found += value.__dict__.items()
    else:
        for name in ("x", "y", "z"):
            try:
                found.append((name, object.__getattribute__(value, name)))
            except AttributeError:
                continue
    return found


def children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, (list, tuple)):
        return list(value)
    if hasattr(type(value), "x") or hasattr(value, "__dict__"):
        return [part for _, part in attributes(value)]
    return []


def walk(value: Any) -> list[Any]:
    todo, seen = [value], dict[int, Any]()
    while todo:
        value = todo.pop()
        if id(value) not in seen:
            seen[id(value)] = value
            todo += children(value)
    return list(seen.values())


def inner_ids(values: list[Any]) -> set[int]:
    return {id(part) for part in walk(values) if pmalloc.pool_of(part) is not None}


def externals_in(frozen: Any, known: list[type]) -> list[Any]:
    """Ordinary instances that frozen objects point to."""
    todo, seen, found = [frozen], dict[int, Any](), list[Any]()
    while todo:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if pmalloc.pool_of(value) is None and type(value) in known:
            found.append(value)
        elif pmalloc.pool_of(value) is not None:
            todo += children(value)
    return found


def mutables(source: Any) -> list[Any]:
    return [part for part in walk(source) if pmalloc.pool_of(part) is None]


def change(part: Any) -> None:
    if type(part) is list:
        part.append(["new", 2.5])
        del part[0]
    elif type(part) is dict:
        part.clear()
        part[1.5] = ("other", [part])
    elif hasattr(part, "__dict__"):
        part.__dict__.clear()
        part.mutated = [part]


def words(text: Any) -> str:
    return repr(text)


def test_freeze_and_model_agree():
    gc.collect()
    gc.freeze()  # what pytest and hypothesis hold: there are many collections ahead
    try:
        drive(Machine, examples=12)
    finally:
        gc.unfreeze()

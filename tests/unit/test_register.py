"""register(): what users say about their classes, and that the contract is checked."""

import ctypes
import threading

import pytest

import pmalloc


class Service:
    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()


class SlotService:
    __slots__ = ("_lock", "name")

    def __init__(self) -> None:
        self.name, self._lock = "slots", threading.Lock()


class WideService(Service):
    def __init__(self) -> None:
        super().__init__("wide")
        for i in range(50):
            setattr(self, f"a{i}", i)


class Guarded:
    def __init__(self) -> None:
        self.known = 1
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> str:
        return f"made up {name}"


@pytest.mark.parametrize("make", [lambda: Service("s"), SlotService, WideService])
def test_omitted_attributes(make):
    cls = type(make())
    pmalloc.register(cls, omit=("_lock",))
    source = [make(), make()]
    frozen = pmalloc.freeze(source)
    for instance in frozen:
        assert instance.name == source[0].name
        assert not hasattr(instance, "_lock")
        with pytest.raises(
            AttributeError,
            match=rf"frozen '{cls.__name__}' object has no attribute '_lock': it was registered",
        ):
            _ = instance._lock
        with pytest.raises(AttributeError, match="has no attribute 'unknown'"):
            _ = instance.unknown
        if hasattr(source[0], "__dict__"):
            expected = dict(vars(source[0]))
            del expected["_lock"]
            assert vars(instance) == expected
    assert (
        vars(pmalloc.thaw(frozen)[0]) == vars(frozen[0])
        if hasattr(source[0], "__dict__")
        else pmalloc.thaw(frozen)[0].name
    )
    assert source[0]._lock is not None


def test_omitted_with_a_getattr_of_its_own():
    pmalloc.register(Guarded, omit=("_lock",))
    frozen = pmalloc.freeze([Guarded()])[0]
    assert frozen.known == 1
    assert frozen.other == "made up other"
    with pytest.raises(AttributeError, match="left out"):
        _ = frozen._lock


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


class Euro(Money):
    pass


def test_replaced():
    pmalloc.register(Money, replace=lambda m: {"cents": m.cents})
    once = Money(70_000)
    frozen = pmalloc.freeze({"a": once, "b": [once, Euro(2)], "c": Money(Money(3))})
    assert frozen == {"a": {"cents": 70_000}, "b": [{"cents": 70_000}, {"cents": 2}]} | {
        "c": {"cents": {"cents": 3}}
    }
    assert frozen["a"] is frozen["b"][0]
    assert pmalloc.freeze(Money(5)) == {"cents": 5}
    assert pmalloc.thaw(frozen)["a"] == {"cents": 70_000}


def test_registered_again():
    class Thing:
        def __init__(self) -> None:
            self.x = 1

    before = pmalloc.freeze([Thing()])
    assert before[0].x == 1
    pmalloc.register(Thing, external=True)
    thing = Thing()
    assert pmalloc.freeze([thing])[0] is thing
    pmalloc.register(Thing, replace=lambda t: t.x)
    assert pmalloc.freeze([thing]) == [1]
    assert before[0].x == 1
    assert type(pmalloc.thaw(before)[0]) is Thing


def test_the_nearest_class_counts():
    class Base:
        pass

    class Derived(Base):
        pass

    pmalloc.register(Base, replace=lambda _: "base")
    pmalloc.register(Derived, replace=lambda _: "derived")
    assert pmalloc.freeze([Base(), Derived()]) == ["base", "derived"]


class Bad:
    pass


@pytest.mark.parametrize("wrong", [lambda b: b, lambda _: Bad(), lambda _: type("S", (Bad,), {})()])
def test_a_replacement_of_the_same_class(wrong):
    pmalloc.register(Bad, replace=wrong)
    before = pmalloc.pools()
    with pytest.raises(pmalloc.UnfreezableError) as caught:
        pmalloc.freeze({"a": [0, Bad()]})
    assert caught.value.path == "['a'][1]"
    assert str(caught.value).startswith(
        "cannot freeze Bad at ['a'][1]: register(Bad, replace=...) gave a "
    )
    assert str(caught.value).endswith(" again; it must give something of another class")
    assert pmalloc.pools() == before


def test_a_replacement_that_does_not_freeze():
    pmalloc.register(Bad, replace=lambda _: [1, iter(())])
    with pytest.raises(pmalloc.UnfreezableError) as caught:
        pmalloc.freeze({"a": [0, Bad()]})
    assert caught.value.path == "['a'][1][1]"


def test_a_replacement_that_raises():
    def fail(_: object) -> object:
        raise KeyError("no such thing")

    pmalloc.register(Bad, replace=fail)
    before = pmalloc.pools()
    with pytest.raises(KeyError, match="no such thing") as caught:
        pmalloc.freeze({"a": Bad()})
    assert caught.value.__notes__ == ["pmalloc: raised by what Bad was registered with, at ['a']"]
    assert pmalloc.pools() == before


def test_a_replacement_that_freezes_itself_and_changes_the_graph():
    graph: dict[str, object] = {"a": Bad(), "list": [1, 2, 3]}

    def replace(_: object) -> object:
        graph["list"] = ["changed"]
        graph["new"] = 1
        return pmalloc.freeze(["frozen by itself"])

    pmalloc.register(Bad, replace=replace)
    frozen = pmalloc.freeze(graph)
    assert frozen == {"a": ["frozen by itself"], "list": ["changed"], "new": 1}


def test_replacements_in_replacements():
    class Deep:
        def __init__(self, n: int) -> None:
            self.n = n

    pmalloc.register(Deep, replace=lambda d: [Deep(d.n - 1)] if d.n else "end")
    value = pmalloc.freeze(Deep(100))
    for _ in range(100):
        (value,) = value
    assert value == "end"
    with pytest.raises(RecursionError, match="more than 1000 deep"):
        pmalloc.freeze([Deep(2000)])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({}, ValueError, "needs replace= or external= or else omit=, linked_dict= or both"),
        ({"external": True, "omit": ("x",)}, ValueError, "needs replace="),
    ],
)
def test_misuse(arguments, error, text):
    with pytest.raises(error, match=text):
        pmalloc.register(Bad, **arguments)


def test_misuse_of_types():
    with pytest.raises(TypeError, match="needs a class, not 5"):
        pmalloc.register(5, external=True)  # type: ignore[arg-type]
    for cls in (dict, str, object, type(None)):
        with pytest.raises(TypeError, match="is for classes that freeze does not know"):
            pmalloc.register(cls, external=True)


def test_replaced_keys():
    pmalloc.register(Money, replace=lambda m: f"{m.cents} cents")
    key, other = Money(1), Money(2)
    for source, expected in (
        ({key: "a", other: "b"}, {"1 cents": "a", "2 cents": "b"}),
        ({key: "a", 5: "b", "c": 1}, {"1 cents": "a", 5: "b", "c": 1}),
        ([{key: i, "x": 1} for i in range(3)], [{"1 cents": i, "x": 1} for i in range(3)]),
        ({(key, 1), "z"}, {("1 cents", 1), "z"}),
        (frozenset([key]), frozenset(["1 cents"])),
    ):
        frozen = pmalloc.freeze(source)
        assert frozen == expected
        assert pmalloc.thaw(frozen) == expected
        if isinstance(frozen, dict):
            assert frozen["1 cents"] == "a"
    assert ("1 cents", 1) in pmalloc.freeze({(key, 1)})


def test_replaced_keys_that_are_none():
    before = pmalloc.pools()
    pmalloc.register(Money, replace=lambda m: [m.cents])
    for source in ({Money(1): 1}, {Money(1)}, frozenset([Money(1)]), {(1, Money(1)): 1}):
        with pytest.raises(TypeError, match="unhashable"):
            pmalloc.freeze(source)
    pmalloc.register(Money, replace=lambda _: "all the same")
    for source, where, kind, what in (
        ({Money(1): 1, Money(2): 2}, "", "dict", "keys"),
        ({Money(1), Money(2)}, "", "set", "members"),
        ({Money(1): 1, "all the same": 2}, "", "dict", "keys"),
        ({"a": [(), {Money(1): 1, Money(2): 2}]}, "['a'][1]", "dict", "keys"),
        ([{}, LinkedDict({Money(1): 1, Money(2): 2})], "[1]", "LinkedDict", "keys"),
        ([Linked(z=frozenset([Money(1), Money(2)]))], "[0].z", "frozenset", "members"),
    ):
        with pytest.raises(pmalloc.UnfreezableError) as caught:
            pmalloc.freeze(source)
        assert caught.value.path == where
        assert str(caught.value) == (
            f"cannot freeze {kind} at {where or 'the root'}: two of its {what} were replaced by "
            "what is equal; what is registered for their class must keep them apart"
        )
    assert [p for p in pmalloc.pools() if p not in before and p.state == "open"] == []


GENERIC_DICT = ctypes.pythonapi.PyObject_GenericGetDict
GENERIC_DICT.restype, GENERIC_DICT.argtypes = ctypes.py_object, [ctypes.py_object, ctypes.c_void_p]


class Linked:
    def __init__(self, **attributes) -> None:
        self.x, self.y = 70_000, ["a"]
        self.__dict__.update(attributes)


class LinkedDict(dict):
    pass


class LinkedList(list):
    pass


class LinkedTuple(tuple):
    pass


def linked_sources() -> list[object]:
    sources = [Linked(), Linked(z=1), Linked(**{f"a{i}": i for i in range(40)}), Linked(_lock=1)]
    extending = [
        *(LinkedDict(), LinkedDict(a=1), LinkedDict({1: 2}), LinkedList(), LinkedList("abc")),
        *(LinkedTuple(), LinkedTuple((1, 2))),
    ]
    for i, instance in enumerate(extending):
        instance.number, instance.name = i * 1000, f"n{i}"
    return [*sources, *extending]


def test_a_linked_dict_is_found_by_the_interpreter():
    before = pmalloc.freeze(linked_sources(), name="not linked")
    for cls in (Linked, LinkedDict, LinkedList, LinkedTuple):
        pmalloc.register(cls, linked_dict=True, omit=("_lock",) if cls is Linked else ())
    sources = linked_sources()
    frozen = pmalloc.freeze(sources, name="linked")
    del sources[3]._lock
    for instance, source in zip(frozen, sources, strict=True):
        found = GENERIC_DICT(instance, None)
        assert found is instance.__dict__ is vars(instance)
        assert type(found) is pmalloc.FrozenDict
        assert found == vars(source)
        assert pmalloc.is_protected(found)
    assert [vars(o) for o in pmalloc.thaw(frozen)] == [vars(o) for o in sources]
    # And the others have theirs, where the twin finds it.
    for instance, source in zip(before, linked_sources(), strict=True):
        assert instance.__dict__ is vars(instance)
        assert vars(instance) == vars(source)
        assert type(vars(instance)) is pmalloc.FrozenDict

"""The classes of Records: their fields, bases, names."""

import gc
import weakref
from typing import Annotated

import pytest
from test_record import Heavy, Switch

import pmalloc
from pmalloc import Record, rare_write, size, u8

# ---- classes -------------------------------------------------------------------------------------


def test_inheritance(name: str):
    class Base(Record):
        a: u8 = 1
        b: int = 2

    class Derived(Base):
        """Fields behind those of Base; another default for one of them."""

        b = 20
        c: u8 = 3

        def total(self) -> int:
            return self.a + self.b + self.c

    class Plain(Derived):
        __slots__ = ()

    assert (Base().a, Base().b) == (1, 2)
    assert Derived().total() == 24 and Plain(c=5).total() == 26
    assert Derived.a is Base.a and Derived.c.offset >= Base.b.offset + 8
    record = pmalloc.Pool(name).new(Plain, a=7)
    assert isinstance(record, Base) and record.total() == 30
    assert repr(record) == "Plain(a=7, b=20, c=3)"


def test_an_init_of_ones_own(name: str):
    class Limits(Record):
        low: int
        high: int

        def __init__(self, middle: int, *, width: int = 10) -> None:
            super().__init__(low=middle - width, high=middle + width)

    record = pmalloc.Pool(name).new(Limits, 100, width=5)
    assert (record.low, record.high) == (95, 105)


class Mixin:
    __slots__ = ()

    def hello(self) -> str:
        return "hello"


def test_bases():
    class Good(Mixin, Record):
        x: int

    assert Good().hello() == "hello"
    with pytest.raises(TypeError, match="adds storage of its own"):

        class Bad(Record, Heavy):
            x: int

    class One(Record):
        x: int

    class Two(Record):
        y: int

    with pytest.raises(TypeError, match=r"fields of both .*|multiple bases"):

        class Both(One, Two):
            pass


@pytest.mark.parametrize(
    ("annotation", "default", "message"),
    [
        (str, ..., "needs a size"),
        (bytes, ..., "needs a size"),
        (Annotated[int, size(3)], ..., "does not go with"),
        (Annotated[str, pmalloc.u8.__metadata__[0]], ..., "does not go with"),
        ("nowhere", ..., "names what is not there"),
        (u8, 256, "C.x takes 0 to 255"),
        (bool, 1, "C.x takes True or False"),
        (object, [], "freeze"),
        (Annotated[bytes, size(3)], b"", "takes 3 bytes"),
    ],
)
def test_annotations_and_defaults_that_are_none(annotation, default, message: str):
    namespace = {"__annotations__": {"x": annotation}}
    if default is not ...:
        namespace["x"] = default
    with pytest.raises((TypeError, ValueError, OverflowError), match=message):
        type(Record)("C", (Record,), namespace)


def test_names_that_are_taken():
    with pytest.raises(TypeError, match="every Record has that name"):

        class One(Record):
            snapshot: int

    with pytest.raises(TypeError, match="is a field of Switch already"):

        class Two(Switch):
            on: bool

    with pytest.raises(TypeError, match="has __slots__"):

        class Three(Record):
            __slots__ = ("x",)


@pytest.mark.parametrize("given", [0, -1, 2**20 + 1, "3", 3.0, True])
def test_sizes_that_are_none(given):
    with pytest.raises((TypeError, ValueError), match="size\\(\\) takes"):
        size(given)


def test_classes_do_not_change():
    class Other(Record):
        a: Annotated[bytes, size(1000)]

    record = Switch()
    with pytest.raises(TypeError):
        record.__class__ = Other
    with pytest.raises(TypeError, match="immutable"):
        Switch.on = 3
    with pytest.raises(TypeError, match="fields already"):
        pmalloc._core.record_finish(Switch, (), {})
    with pytest.raises(TypeError, match="has no fields"):
        pmalloc._core.Record()
    with pytest.raises(TypeError):
        object.__new__(Switch)
    with pytest.raises(TypeError):
        weakref.ref(record)
    assert not hasattr(record, "__dict__")


def test_classes_go_away():
    def make() -> weakref.ref:
        class Gone(Record):
            x: int

        Gone(x=3)
        return weakref.ref(Gone)

    ref = make()
    gc.collect()
    assert ref() is None


def test_annotations_as_text():
    module = {"__name__": "text"}
    exec(
        "from __future__ import annotations\n"
        "import pmalloc\nfrom typing import ClassVar, Annotated\n"
        "class Node(pmalloc.Record):\n"
        "    kind: ClassVar[str] = 'node'\n"
        "    weight: pmalloc.u16 = 3\n"
        "    next: Node | None\n"
        "    name: Annotated[str, pmalloc.size(4)] = 'abcd'\n",
        module,
    )
    node = module["Node"]()
    assert (node.kind, node.weight, node.next, node.name) == ("node", 3, None, "abcd")


def test_no_fields_at_all(name: str):
    class Empty(Record):
        pass

    pool = pmalloc.Pool(name, mode="wr")
    record = pool.new(Empty)
    pool.protect()
    with rare_write(record) as staged:
        assert type(staged) is Empty
    assert repr(record.snapshot()) == "Empty()"

"""@init on classes and modules."""

import abc
import dataclasses
import enum
import functools
import importlib
import sys
from typing import NamedTuple

import pytest
from child import in_child

import pmalloc

CLASS = r"cannot make an instance of .*: it is an init class, and init is over"
FUNCTION = r"cannot call .*: it is an init function, and init is over"


class Meta(type):
    def __setattr__(cls, name, value):
        raise TypeError("this metaclass allows no attributes")

    def __call__(cls, *args):
        return super().__call__(*args)


def test_a_class_makes_no_instances_and_its_methods_raise():
    def work() -> None:
        class Foreign:
            def inherited(self):
                return "inherited"

        @pmalloc.init
        class Loader(Foreign):
            kind = "loader"

            class Part:
                def go(self):
                    raise AssertionError

            def __init__(self):
                self.x = 1

            def load(self):
                raise AssertionError

            @classmethod
            def make(cls):
                raise AssertionError

            @staticmethod
            def helper():
                raise AssertionError

            @property
            def size(self):
                raise AssertionError

            def __del__(self):
                ended.append(self)

        ended = []

        class Below(Loader):
            def __init__(self):
                raise AssertionError

        loader, part = Loader(), Loader.Part()
        for _ in range(10_000):
            Loader()
        ended.clear()
        report = pmalloc.mark_rodata_ro()
        assert report.classes == 2
        for n in range(10_000):
            for make in (Loader, Below, Loader.Part):
                with pytest.raises(pmalloc.InitError, match=CLASS) if n < 2 else refused():
                    make()
        for call in (
            loader.load,
            Loader.make,
            Loader.helper,
            functools.partial(getattr, loader, "size"),
            loader.__init__,
            part.go,
        ):
            with pytest.raises(pmalloc.InitError, match=FUNCTION):
                call()
        assert (loader.kind, loader.x, loader.inherited()) == ("loader", 1, "inherited")
        assert not ended
        del loader, call
        assert len(ended) == 1

    in_child(work)


class refused:  # noqa: N801
    """pytest.raises for hot loops."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        assert kind is pmalloc.InitError
        return True


@dataclasses.dataclass
class Data:
    x: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    x: int = 1


class Named(NamedTuple):
    x: int = 1


class Abstract(abc.ABC):
    def go(self):
        raise AssertionError


class Plain(metaclass=Meta):
    pass


class Own:
    def __new__(cls):
        return super().__new__(cls)


class PluginError(Exception):
    pass


@pytest.mark.parametrize(
    "cls", [Data, Slotted, Named, Abstract, Plain, Own, PluginError], ids=lambda cls: cls.__name__
)
def test_kinds_of_classes(cls):
    def work() -> None:
        cls()
        assert pmalloc.init(cls) is cls
        cls()
        pmalloc.mark_rodata_ro()
        with pytest.raises(pmalloc.InitError, match=CLASS):
            cls()
        below = type(cls)("Below", (cls,), {})
        with pytest.raises(pmalloc.InitError, match=CLASS):
            below()

    in_child(work)


def test_an_enum_finds_no_members_by_value():
    def work() -> None:
        @pmalloc.init
        class Colour(enum.Enum):
            RED = 1

        pmalloc.mark_rodata_ro()
        assert Colour.RED.value == 1

    in_child(work)


@pytest.mark.parametrize("cls", [int, dict, type, ValueError, pmalloc.Pool.__base__])
def test_builtin_classes_are_refused(cls):
    def work() -> None:
        with pytest.raises(TypeError, match="not a class of Python code"):
            pmalloc.init(cls)

    in_child(work)


MODULE = """
import sys
import functools
import pmalloc
{mark}
STEPS = globals().setdefault("STEPS", [])
STEPS.append("ran")
from json import loads

def load():
    raise AssertionError

def deco(f):
    @functools.wraps(f)
    def wrapper():
        return f()
    return wrapper

@deco
def decorated():
    raise AssertionError

class Loader:
    def go(self):
        raise AssertionError

loader = Loader()
"""
MARK = "pmalloc.init(sys.modules[__name__])"


@pytest.fixture
def module(tmp_path, monkeypatch, name):
    """A module's name; its first statement marks it."""
    name = name.replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE.format(mark=MARK))
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_module_is_closed(module):
    def work() -> None:
        made = importlib.import_module(module)
        report = pmalloc.mark_rodata_ro()
        assert report.classes == 1 and report.functions >= 4
        for call in (made.load, made.decorated, made.loader.go):
            with pytest.raises(pmalloc.InitError, match=FUNCTION):
                call()
        with pytest.raises(pmalloc.InitError, match=CLASS):
            made.Loader()
        assert made.loads("[1]") == [1]
        with pytest.raises(pmalloc.InitError, match=f"cannot register module {module} for"):
            importlib.reload(made)
        assert made.STEPS == ["ran"]

    in_child(work)


def test_a_module_that_is_imported_after_the_end(module):
    def work() -> None:
        pmalloc.mark_rodata_ro()
        with pytest.raises(pmalloc.InitError, match=f"for module {module}: init is over"):
            importlib.import_module(module)
        assert module not in sys.modules
        with pmalloc.late_init("late") as phase:
            made = importlib.import_module(module)
        assert made.STEPS == ["ran"]
        assert phase.report.classes == 1
        with pytest.raises(pmalloc.InitError, match="the late init phase 'late' is over"):
            made.load()

    in_child(work)

"""Closes functions, classes and modules that may run during init only.

A function stays the same object. Its code is replaced by a stub of the same signature that raises
InitError, and the pointer that calls go through by one that raises it in the caller's line: why
both, src/_core/init_function.c says. The stub is compiled here, from a line of Python: nothing
depends on what bytecode looks like in a version.
"""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from types import AsyncGeneratorType, CodeType, CoroutineType, FunctionType, GeneratorType
from types import ModuleType as Module
from typing import Any, cast

from . import _core
from ._errors import InitError

_VARARGS, _VARKEYWORDS = 0x04, 0x08
_GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x200
_SUSPENDS = _GENERATOR | _COROUTINE | _ASYNC_GENERATOR
_HAS_DOCSTRING = 0x4000000  # 3.14: the first constant is one; the stub has another there
_HEAP_TYPE, _IMMUTABLE_TYPE = 1 << 9, 1 << 8
_NO_COLUMNS = 0x80 | 13 << 3  # an entry of a line table, for up to 8 units of code

type Pending = (
    GeneratorType[Any, Any, Any] | CoroutineType[Any, Any, Any] | AsyncGeneratorType[Any, Any]
)


def plural(count: int, noun: str) -> str:
    """``1 hook``, ``2 hooks``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


class Closed:
    """What a stub has for a constant: it makes the exception."""

    __slots__ = ("_over", "_what", "code")

    def __init__(self, what: str, over: str, code: CodeType | None = None) -> None:
        self._what = what
        self._over = over
        self.code = code  # that the stub stands for, for debuggers; None: it was dropped

    @property
    def error(self) -> InitError:
        """A new one: each has a traceback of its own."""
        return InitError(f"cannot {self._what}, and {self._over}")


# A function to be closed, and whether its code is to be dropped.
type Function = tuple[FunctionType, bool]


def name_of(obj: Any) -> str:
    """``app.db.load``, as far as it has names."""
    name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
    module = getattr(obj, "__module__", None)
    name = name if isinstance(name, str) else type(obj).__name__
    return f"{module}.{name}" if isinstance(module, str) else name


# ---- what there is to close ----


def functions_of(target: object) -> list[FunctionType]:
    """The functions behind a method's descriptor, or a function itself; else nothing."""
    if isinstance(target, FunctionType):
        return [target]
    if isinstance(target, (classmethod, staticmethod)):
        return functions_of(cast("Any", target).__func__)
    if isinstance(target, property):
        return [
            function
            for part in (target.fget, target.fset, target.fdel)
            for function in functions_of(part)
        ]
    if isinstance(target, (functools.cached_property, functools.partialmethod)):
        return functions_of(cast("object", target.func))
    return []


def _unwrapped(function: FunctionType) -> Iterator[FunctionType]:
    """It, and what functools.wraps says it wraps."""
    seen: set[int] = set()
    inner: object = function
    while isinstance(inner, FunctionType) and id(inner) not in seen:
        seen.add(id(inner))
        yield inner
        inner = getattr(inner, "__wrapped__", None)


def can_close_class(cls: type) -> bool:
    """Whether it was made by a class statement: others have methods that nothing can close."""
    return cls.__flags__ & (_HEAP_TYPE | _IMMUTABLE_TYPE) == _HEAP_TYPE and not any(
        type(value).__name__ in {"method_descriptor", "classmethod_descriptor"}
        for value in vars(cls).values()
    )


def _is_own(function: FunctionType, cls: type) -> bool:
    """Not one that stands elsewhere, and that the class has a name for."""
    return (
        function.__qualname__.startswith(f"{cls.__qualname__}.")
        or "<locals>" in function.__qualname__
    )


def classes_below(cls: type) -> Iterator[type]:
    """It, and the classes in its body."""
    yield cls
    for value in list(vars(cls).values()):
        if (
            isinstance(value, type)
            and value.__module__ == cls.__module__
            and value.__qualname__.startswith(f"{cls.__qualname__}.")
            and can_close_class(value)
        ):
            yield from classes_below(value)


def methods_of(cls: type) -> Iterator[FunctionType]:
    """The functions of its body, but for ``__del__``: nobody calls that one."""
    for name, value in list(vars(cls).items()):
        if name != "__del__":
            for function in functions_of(value):
                for each in _unwrapped(function):
                    if _is_own(each, cls):
                        yield each


def module_parts(module: Module) -> tuple[list[FunctionType], list[type]]:
    """The functions and classes that the module's own code made."""
    functions: list[FunctionType] = []
    classes: list[type] = []
    for value in list(vars(module).values()):
        if isinstance(value, type):
            if value.__module__ == module.__name__ and can_close_class(value):
                classes += classes_below(value)
        else:
            for function in functions_of(value):
                functions += [
                    each for each in _unwrapped(function) if each.__globals__ is vars(module)
                ]
    return functions, classes


# ---- closing ----


@functools.cache
def _template(kind: int, free: int) -> CodeType:
    """Code of that kind, with so many variables of outer functions, that raises ``'X'.error``."""
    names = ", ".join(f"v{i}" for i in range(free))
    begin = "async def" if kind & (_COROUTINE | _ASYNC_GENERATOR) else "def"
    after = "; yield" if kind & (_GENERATOR | _ASYNC_GENERATOR) else ""
    using = f"; ({names},)" if free else ""
    source = f"def outer({names}):\n {begin} stub(): raise 'X'.error{after}{using}\n return stub"
    scope: dict[str, Any] = {}
    exec(source, scope)  # noqa: S102 - the line above
    return cast("CodeType", scope["outer"](*range(free)).__code__)


def _stub(code: CodeType, closed: Closed) -> CodeType:
    """Code with the same signature and place that raises."""
    template = _template(code.co_flags & _SUSPENDS, len(code.co_freevars))
    arguments = (
        code.co_argcount
        + code.co_kwonlyargcount
        + bool(code.co_flags & _VARARGS)
        + bool(code.co_flags & _VARKEYWORDS)
    )
    units = len(template.co_code) // 2
    return template.replace(
        co_argcount=code.co_argcount,
        co_posonlyargcount=code.co_posonlyargcount,
        co_kwonlyargcount=code.co_kwonlyargcount,
        co_nlocals=arguments,
        co_varnames=code.co_varnames[:arguments],
        co_freevars=code.co_freevars,
        co_flags=code.co_flags & ~_HAS_DOCSTRING,
        co_consts=tuple(closed if const == "X" else const for const in template.co_consts),
        co_filename=code.co_filename,
        co_firstlineno=code.co_firstlineno,
        co_name=code.co_name,
        co_qualname=code.co_qualname,
        # All of it is the line of the def.
        co_linetable=b"".join(
            bytes((_NO_COLUMNS | min(8, units - at) - 1, 0)) for at in range(0, units, 8)
        ),
    )


def closed_of(function: FunctionType) -> Closed | None:
    """What its stub has; None where it is open."""
    for const in function.__code__.co_consts:
        if type(const) is Closed:
            return const
    return None


def _explain(function: FunctionType) -> InitError:
    closed = closed_of(function)
    if closed is None:  # somebody gave it other code since
        closed = Closed(f"call {name_of(function)}(): it is an init function", "init is over")
    return closed.error


def close_function(function: FunctionType, drop: bool, over: str) -> bool:
    """From now on each call raises; False where that is so already. `drop` forgets the code."""
    if closed_of(function) is not None:
        return False
    code = function.__code__
    what = f"call {name_of(function)}(): it is an init function"
    function.__code__ = _stub(code, Closed(what, over, None if drop else code))
    _core.close_function(function, _explain)
    return True


def close_class(cls: type, over: str) -> None:
    """From now on it makes no instances, nor do subclasses that make theirs by its ``__new__``."""

    def __new__(cls: type, *args: object, **fields: object) -> None:  # noqa: N807
        raise AssertionError((cls, args, fields))

    closed = Closed(f"make an instance of {name_of(cls)}: it is an init class", over)
    refuse = cast("FunctionType", __new__)
    refuse.__qualname__ = f"{cls.__qualname__}.__new__"
    refuse.__module__ = cls.__module__
    refuse.__code__ = _stub(refuse.__code__, closed)
    _core.close_function(refuse, _explain)
    # Past the metaclass: one may have rules of its own for attributes.
    type.__setattr__(cls, "__new__", staticmethod(refuse))


# ---- generators and coroutines that were made during init ----


def _code_of(pending: Pending) -> CodeType:
    if isinstance(pending, GeneratorType):
        return pending.gi_code
    return pending.cr_code if isinstance(pending, CoroutineType) else pending.ag_code


def _state_of(pending: Pending) -> str | None:
    """None where it runs, or has ended."""
    if isinstance(pending, GeneratorType):
        frame, running, suspended = pending.gi_frame, pending.gi_running, pending.gi_suspended
    elif isinstance(pending, CoroutineType):
        frame, running, suspended = pending.cr_frame, pending.cr_running, pending.cr_suspended
    else:
        frame, running = pending.ag_frame, pending.ag_running
        suspended = pending.ag_suspended
    if frame is None or (running and not suspended):
        return None
    return "suspended" if suspended else "not started"


def find_pending(functions: Iterable[FunctionType]) -> list[Pending]:
    """The generators and coroutines of these functions that could still run statements."""
    codes = {
        id(function.__code__)
        for function in functions
        if function.__code__.co_flags & _SUSPENDS and closed_of(function) is None
    }
    if not codes:
        return []
    kinds = (GeneratorType, CoroutineType, AsyncGeneratorType)
    return [
        cast("Pending", obj)
        for obj in gc.get_objects()
        if type(obj) in kinds
        and id(_code_of(cast("Pending", obj))) in codes
        and _state_of(cast("Pending", obj)) is not None
    ]


def describe_pending(pending: Pending) -> str:
    """``generator app.load() at app.py:12, not started``."""
    code = _code_of(pending)
    kind = type(pending).__name__.replace("_", " ")
    return (
        f"{kind} {pending.__qualname__}() at {code.co_filename}:{code.co_firstlineno}, "
        f"{_state_of(pending)}"
    )


_not_to_start: dict[int, Closed] = {}  # by id() of code that has our event


def _started(code: CodeType, offset: int) -> None:
    del offset
    closed = _not_to_start.get(id(code))
    if closed is not None:
        raise closed.error


def _tool() -> int | None:
    """Pmalloc's place in sys.monitoring, which _watch.py may have taken; None: all are taken."""
    names = [sys.monitoring.get_tool(number) for number in range(6)]
    if "pmalloc" in names:
        return names.index("pmalloc")
    for number in (4, 3, 5, 0, 1, 2):  # those with a use of their own come last
        if names[number] is None:
            sys.monitoring.use_tool_id(number, "pmalloc")
            return number
    return None


def forbid_start(found: list[Pending], over: str) -> None:
    """Those that did not start raise InitError at their first step; where that can't be, end."""
    waiting = [pending for pending in found if _state_of(pending) == "not started"]
    if not waiting:
        return
    tool = _tool()
    events = sys.monitoring.events.PY_START
    if tool is not None:
        sys.monitoring.register_callback(tool, events, _started)
    for pending in waiting:
        code = _code_of(pending)
        if tool is None:
            close: Callable[[], object] = getattr(pending, "close", lambda: None)
            close()  # an asynchronous generator has none
            continue
        what = f"start {pending.__qualname__}(): it is of an init function"
        _not_to_start[id(code)] = Closed(what, over)
        sys.monitoring.set_local_events(
            tool, code, sys.monitoring.get_local_events(tool, code) | events
        )

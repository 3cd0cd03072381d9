"""InitPhase: what was registered, and the end that protects all of it.

There is one phase for the process, which `mark_rodata_ro` ends, and one for each block of
`late_init`. An end goes through fixed steps, and each takes what it has done off a list of what is
to be done: so what fails can be tried again, and nothing is done twice.

Two locks. `ends` is held by the thread that ends a phase, hooks included: others that want to end
one wait. `books` is held for some instructions by whoever registers something, and by an end while
it protects: hooks run without it, so that they may register, and other threads, too.
"""

from __future__ import annotations

import os
import sys
import time
from _thread import get_ident
from collections.abc import Callable, Iterable
from contextvars import ContextVar, Token
from types import ModuleType, TracebackType
from typing import Any, Self, cast

from . import _core, _init_functions, _init_sections
from ._errors import InitError, UnfreezableError
from ._fair_lock import FairLock
from ._init_report import External, Held, InitFailures, InitReport, type_name
from ._pools import Pool, _live, give_up, global_pool, pool_of

ends = FairLock()
books = FairLock()


def _before_fork() -> None:
    ends.acquire()
    books.acquire()


def _after_in_parent() -> None:
    books.release()
    ends.release()


def _after_in_child() -> None:
    books.alone()
    ends.alone()
    _after_in_parent()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)

_current: ContextVar[InitPhase | None] = ContextVar("pmalloc.late_init", default=None)
_open: list[InitPhase] = []  # late phases whose block has not ended

type Hook = Callable[[], object]
_SAID = 10  # reasons in one message


def current() -> InitPhase:
    """The phase of the innermost block of `late_init` in this context, else the process's."""
    return _current.get() or main


class InitPhase:
    """One phase of init: `late_init` makes it, and its ``with`` block is it.

    Attributes:
        name: of the phase, and of its pool.
        report: what its end protected; None before.
    """

    def __init__(self, name: str, *, strict: bool = False, _main: bool = False) -> None:
        self.name = name
        self.report: InitReport | None = None
        self._strict = strict
        self._main = _main
        self._pool: Pool | None = None
        self._token: Token[InitPhase | None] | None = None
        self._outer: InitPhase | None = None
        self._begun = 0  # the section that was known last then
        self._state = "never begun"  # "open", "over", "abandoned"
        self._ender: int | None = None  # the thread that ends it just now
        self._entries: dict[str, Any] = {}
        self._known: set[int] = set()  # id() of the entries
        self._numbers = 0
        self._born: dict[str, Any] = {}  # the entries that are to be frozen in place, ...
        self._originals: list[Any] = []  # ... and what they were made of
        self._frozen: dict[str, Any] = {}  # entries that were frozen before
        self._pools: dict[Pool, None] = {}  # to be protected
        self._protected: list[Pool] = []
        self._before: list[Hook] = []
        self._after: list[Hook] = []
        self._functions: list[_init_functions.Function] = []
        self._classes: list[tuple[type, bool]] = []
        self._modules: list[tuple[ModuleType, bool]] = []
        if _main:
            self._state = "open"

    @property
    def pool(self) -> Pool:
        """Where what is registered goes: `global_pool`, or the late phase's own."""
        if self._main:
            return global_pool()
        if self._pool is None:
            raise InitError(f"the late init phase {self.name!r} has no pool before its block")
        return self._pool

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._state != "open"

    @property
    def _over_text(self) -> str:
        if self._main:
            return "init is over; do it before pmalloc.mark_rodata_ro(), or take @pmalloc.init off"
        return (
            f"the late init phase {self.name!r} is over; do it in its block, or take "
            "@pmalloc.init off"
        )

    def need_open(self, what: str, module: str) -> None:
        """Raises InitError where nothing can be registered any more."""
        if not self.over:
            return
        if self._main:
            raise InitError(
                f"cannot register {what} for module {module}: init is over; import the module "
                "before pmalloc.mark_rodata_ro(), or in a block `with pmalloc.late_init(...):`"
            )
        raise InitError(
            f"cannot register {what} for module {module}: the late init phase {self.name!r} is "
            f"{self._state}; do it in its block, or in a new one"
        )

    # ---- registering; with `books` held ----

    def _free_name(self, module: str) -> str:
        while True:
            self._numbers += 1
            name = f"{module}-{self._numbers}"
            if name not in self._entries:
                return name

    def take(self, value: Any, name: str | None, module: str) -> Any:
        """See ro_after_init."""
        if name is None and id(value) in self._known:
            return value
        if name is not None and name in self._entries:
            if self._entries[name] is value:
                return value
            raise ValueError(
                f"cannot register {name!r} for module {module}: init phase {self.name!r} has an "
                "entry of that name already; choose another"
            )
        where = _core.pool_id_of(value)
        kind = cast("Any", type(value))
        taken: Any
        if isinstance(value, Pool):
            taken = value
            self._register(value)
        elif where is not None:
            taken = value
            pool = self.pool if where == self.pool._id else pool_of(value)
            if pool is not None and id(value) not in self._known:
                self._register(pool)
        elif kind in {dict, list}:
            taken = cast("Any", self.pool)._born(value)
        elif (numpy := sys.modules.get("numpy")) and issubclass(kind, numpy.ndarray):
            taken = _copy_array(self.pool, value)
        else:
            raise TypeError(_advice(value, name, module))
        name = name or self._free_name(module)
        if taken is not value and kind in {dict, list}:
            self._born[name] = taken
            self._originals.append(value)  # for the end to say who else has it
        elif issubclass(kind, (_core.FrozenDict, _core.FrozenList)):
            self._frozen[name] = taken
        self._entries[name] = taken
        self._known.add(id(taken))
        return taken

    def _register(self, pool: Pool) -> None:
        if pool.state == "open":
            self._pools[pool] = None

    def take_target(self, target: Any, drop: bool) -> None:
        """See init."""
        if isinstance(target, ModuleType):
            self._modules.append((target, drop))
        elif isinstance(target, type):
            if not _init_functions.can_close_class(target):
                raise TypeError(
                    f"cannot mark {target.__module__}.{target.__qualname__} as init: it is "
                    "not a class of Python code, and nothing can close its methods; mark the "
                    "functions that use it"
                )
            self._classes.append((target, drop))
        else:
            functions = _init_functions.functions_of(target)
            if not functions:
                raise TypeError(
                    f"cannot mark {type(target).__name__} {_init_functions.name_of(target)} as "
                    "init: it takes functions and methods of Python code, classes and modules; "
                    "where other decorators make something else of a function, put @pmalloc.init "
                    "below them"
                )
            self._functions += [(each, drop) for each in functions]

    def take_hook(self, hook: Hook, before: bool) -> None:
        """See before_mark_rodata_ro."""
        (self._before if before else self._after).append(hook)

    # ---- the block of late_init ----

    def __enter__(self) -> Self:
        if self._state != "never begun":
            raise InitError(f"init phase {self.name!r} was begun before; make a new one")
        if sys.is_finalizing():
            raise InitError("cannot begin a late init phase: the interpreter is being finalised")
        with books:
            self._pool = _late_pool(self.name)
            self._outer = _current.get()
            self._begun = _init_sections.latest()
            self._state = "open"
            _open.append(self)
        self._token = _current.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()
        if error is None:
            self.end(strict=self._strict)
        elif not self.over:
            self._abandon(error)

    def _leave(self) -> None:
        """The context has the phase again that it had before, where this is the same context."""
        token, self._token = self._token, None
        if token is not None:
            try:
                _current.reset(token)
            except ValueError:  # a generator's block that ends in another context than it began
                if _current.get() is self:
                    _current.set(None)

    def _abandon(self, error: BaseException) -> None:
        with ends, books:
            self._state = "abandoned"
            _open.remove(self)
            if self._born:
                error.add_note(
                    f"late init phase {self.name!r} was abandoned: what it registered stays "
                    "ordinary, writable objects"
                )
            else:
                give_up(self.pool, error)
            for lists in (self._originals, self._functions, self._classes, self._modules):
                cast("list[Any]", lists).clear()
            self._before.clear()
            self._after.clear()
            for each in (self._entries, self._born, self._frozen, self._pools):
                each.clear()
            self._known.clear()

    # ---- the end ----

    def end(self, *, strict: bool = False) -> InitReport:
        """Ends the phase as `mark_rodata_ro` ends the process's; again, for what failed."""
        what = "init" if self._main else f"late init phase {self.name!r}"
        if self._ender == get_ident():
            raise InitError(f"cannot end {what}: this thread is ending it; a hook cannot")
        if sys.is_finalizing():
            raise InitError(
                f"cannot end {what}: the interpreter is being finalised; do it before, or by atexit"
            )
        with ends:
            if self._state not in {"open", "over"}:
                raise InitError(f"cannot end {what}: it was {self._state}")
            self._ender = get_ident()
            try:
                return self._end(strict, what)
            finally:
                self._ender = None

    def _end(self, strict: bool, what: str) -> InitReport:
        done = self.report
        if done is not None and not done.failures and not self._has_new_sections():
            return done
        start = time.perf_counter()
        strict = strict and self._state == "open"
        failures: list[Exception] = []
        self._call(self._before, failures)
        if strict and failures:
            raise InitError(
                f"cannot end {what} strictly: {_init_functions.plural(len(failures), 'hook')} "
                "raised; nothing was changed, and it goes on"
            ) from ExceptionGroup("hooks before the end", failures)
        with books:
            report = self._protect_all(strict, what, failures)
        self._call(self._after, failures)
        self.report = report = report._replace(
            failures=tuple(f"{type(error).__name__}: {error}" for error in failures),
            seconds=time.perf_counter() - start,
        )
        if failures:
            group = InitFailures(f"{what} is over, but not all could be done", failures)
            group.report = report
            raise group
        return report

    def _others(self) -> list[int]:
        """Where the late phases began that are open, and in which this one does not lie."""
        within: list[InitPhase] = []
        phase: InitPhase | None = self
        while phase is not None:
            within.append(phase)
            phase = phase._outer
        return [phase._begun for phase in _open if phase not in within]

    def _has_new_sections(self) -> bool:
        """What was loaded outside of late phases since init was over: it is for the next call."""
        return self._main and _init_sections.any_new(self._others())

    def _call(self, hooks: list[Hook], failures: list[Exception]) -> None:
        """Calls them, those too that they add; those that raised stay on the list."""
        failed: list[Hook] = []
        while hooks:
            hook = hooks.pop(0)
            try:
                hook()
            except Exception as error:  # noqa: BLE001 - collected
                error.add_note(f"raised by the hook {_init_functions.name_of(hook)}")
                failures.append(error)
                failed.append(hook)
            except BaseException:
                hooks[:0] = [*failed, hook]
                raise
        hooks[:] = failed

    def _protect_all(self, strict: bool, what: str, failures: list[Exception]) -> InitReport:
        functions, classes = self._to_close()
        pending = _init_functions.find_pending(function for function, _ in functions)
        pending_texts = tuple(map(_init_functions.describe_pending, pending))
        if strict and pending:
            raise _refusal(what, pending_texts)
        importing = _importing()
        settled = self._settle(strict, what, failures)
        self._state = "over"
        if self in _open:
            _open.remove(self)
        policy = self.pool.stats()["policy"]
        self._protect_pools(failures)
        sections = _init_sections.protect(self._begun, self._others(), failures)
        settled.leftovers = None
        self._originals.clear()
        closed, closed_classes = self._close(functions, classes, pending, failures)
        stats = [pool.stats() for pool in self._protected]
        before = self.report  # of a call that failed in part
        return InitReport(
            phase=self.name,
            entries=tuple(self._entries),
            objects=sum(each["objects"] for each in stats),
            bytes=sum(each["used_bytes"] for each in stats),
            pools=tuple(each["name"] for each in stats),
            sections=(before.sections if before else ()) + tuple(sections),
            functions=closed + (before.functions if before else 0),
            classes=closed_classes + (before.classes if before else 0),
            held=(before.held if before else ()) + settled.held,
            externals=(before.externals if before else ()) + settled.externals,
            pending=(before.pending if before else ()) + pending_texts,
            importing=before.importing if before else importing,
            open_phases=tuple(phase.name for phase in _open),
            open_sections=_init_sections.left_open(),
            policy=policy,
            failures=(),
            seconds=0.0,
        )

    def _to_close(self) -> tuple[list[_init_functions.Function], list[type]]:
        functions = list(self._functions)
        classes: dict[int, tuple[type, bool]] = {}
        for marked, drop in self._classes:
            for cls in _init_functions.classes_below(marked):
                classes[id(cls)] = (cls, drop)
        for module, drop in self._modules:
            made, below = _init_functions.module_parts(module)
            functions += [(each, drop) for each in made]
            for cls in below:
                classes[id(cls)] = (cls, drop)
        for cls, drop in classes.values():
            functions += [(each, drop) for each in _init_functions.methods_of(cls)]
        return functions, [cls for cls, _ in classes.values()]

    def _settle(self, strict: bool, what: str, failures: list[Exception]) -> _Settled:
        """Freezes dicts and lists where they are."""
        result = _Settled()
        if not self._born:
            return result
        # Arrays in these are protected where they are; see _classes.py.
        vars(self.pool)["_stay"] = {pool._id for pool in (self.pool, *self._pools)}
        try:
            answer = self.pool._settle(self._born | self._frozen, self._originals, strict)
        except Exception as error:
            if strict:
                raise _refusal(what, [str(error)]) from error
            failures.append(error)
            return result
        finally:
            del vars(self.pool)["_stay"]
        root, outside, lines, inside, result.leftovers = answer
        if lines:
            from . import _held

            result.held = _held.describe(
                self.name, lines, inside, self._born, self._originals, result.leftovers
            )
        result.externals = tuple(
            External(self.name + path, type_name(obj), reason) for path, obj, reason in outside
        )
        if root is None:
            lines.clear()  # the traceback would hold what is in them
            outside.clear()
            del inside, answer
            raise _refusal(what, map(str, (*result.held, *result.externals)))
        failures += map(_unfrozen, result.externals)
        self._born = {}
        return result

    def _protect_pools(self, failures: list[Exception]) -> None:
        own = self.pool
        if self._born:  # it could not be settled: that was told of
            self._pools.pop(own, None)
        elif own.state == "open":
            self._pools[own] = None
        for pool in list(self._pools):
            try:
                if pool is own and not self._main and not pool.stats()["chunks"]:
                    pool.destroy()  # nothing is in it: its name is free again
                elif pool.state == "open":
                    pool.protect()
            except Exception as error:  # noqa: BLE001 - collected
                failures.append(error)
                continue
            del self._pools[pool]
            if pool.state != "destroyed":
                self._protected.append(pool)

    def _close(
        self,
        functions: list[_init_functions.Function],
        classes: list[type],
        pending: list[_init_functions.Pending],
        failures: list[Exception],
    ) -> tuple[int, int]:
        over = self._over_text
        _init_functions.forbid_start(pending, over)
        closed = 0
        left: list[_init_functions.Function] = []
        left_classes: list[tuple[type, bool]] = []
        for function, drop in functions:
            try:
                closed += _init_functions.close_function(function, drop, over)
            except Exception as error:  # noqa: BLE001 - collected
                error.add_note(f"on closing {_init_functions.name_of(function)}")
                failures.append(error)
                left.append((function, drop))
        for cls in classes:
            try:
                _init_functions.close_class(cls, over)
            except Exception as error:  # noqa: BLE001 - collected
                error.add_note(f"on closing {_init_functions.name_of(cls)}")
                failures.append(error)
                left_classes.append((cls, False))
        self._functions, self._classes = left, left_classes
        self._modules.clear()
        return closed, len(classes) - len(left_classes)


class _Settled:
    """What freezing in place told."""

    def __init__(self) -> None:
        self.held: tuple[Held, ...] = ()
        self.externals: tuple[External, ...] = ()
        self.leftovers: list[object] | None = None  # to be kept until all is protected


def _unfrozen(external: External) -> UnfreezableError:
    """What says of an object that it could not be protected."""
    error = UnfreezableError(
        f"cannot freeze {external.type} at {external.path}: {external.reason}; it stays outside of "
        "the pool, as writable as it was"
    )
    error.path = external.path
    return error


def _refusal(what: str, against: Iterable[str]) -> InitError:
    said = list(against)
    if len(said) > _SAID:
        said[_SAID:] = [f"and {len(said) - _SAID:,} more"]
    return InitError(
        f"cannot end {what} strictly: {'; '.join(said)}; nothing was changed, and it goes on"
    )


_late_names: dict[str, int] = {}


def _late_pool(name: str) -> Pool:
    """A pool of that name; of a phase that had the name before, it may be alive: NAME@2 then."""
    number = _late_names.get(name, 0) + 1
    if number > 1 and name in _live:
        while f"{name}@{number}" in _live:
            number += 1
        pool = Pool(f"{name}@{number}")
    else:
        pool = Pool(name)
    _late_names[name] = number
    return pool


def _importing() -> tuple[str, ...]:
    """The modules whose code is running just now, because somebody imports them."""
    found: list[str] = []
    for name, module in cast("list[tuple[str, object]]", list(sys.modules.items())):
        if isinstance(module, ModuleType):  # anything may be there
            # Not getattr(): a lazy module would load itself.
            names = cast("dict[str, Any]", object.__getattribute__(module, "__dict__"))
            spec = names.get("__spec__")
            if spec is not None and getattr(spec, "_initializing", False):
                found.append(name)
    return tuple(found)


def _copy_array(pool: Any, array: Any) -> Any:
    return pool.copy_array(array)


def _advice(value: Any, name: str | None, module: str) -> str:
    """Why a value can't be registered, and what to do."""
    kind = type(value).__name__
    what = f"cannot register {kind if name is None else repr(name)} for module {module}: "
    for base in (dict, list):
        if isinstance(value, base):
            return (
                f"{what}{kind} is a subclass of {base.__name__}, and its methods would write to "
                f"it; register {base.__name__}(...) of it, or pmalloc.freeze() it when it is filled"
            )
    if hasattr(value, "__buffer__") and not isinstance(value, bytes):
        return (
            f"{what}the memory of the {kind} lies in no pool; copy it into one, "
            "pmalloc.global_pool().copy(value), and register that"
        )
    return (
        f"{what}a {kind} cannot become read-only where it is; put it into a dict or a list and "
        "register that, or pmalloc.freeze() it when it is set up"
    )


main = InitPhase("global", _main=True)

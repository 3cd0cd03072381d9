"""The init phase: what is set up at start, and then never changes.

After the kernel's ``__init``, ``__ro_after_init`` and ``mark_rodata_ro()``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, overload

from . import _init_functions
from ._init_phase import Hook, InitPhase, books, current, main
from ._init_report import InitReport


def _caller(depth: int = 2) -> str:
    """Name of the module whose code called."""
    name: object = sys._getframe(depth).f_globals.get("__name__")
    return name if isinstance(name, str) else "?"


def ro_after_init[T](value: T, *, name: str | None = None) -> T:
    """Says of data that it is set up during init, and never changes after it.

    Until the end of init, `mark_rodata_ro`, it can be changed by everybody; then it is read-only,
    at once and where it is, so that all names for it stay what they are. ::

        ROUTES = pmalloc.ro_after_init({}, name="routes")
        ...
        ROUTES["/"] = index         # during init
        pmalloc.mark_rodata_ro()
        ROUTES["/"] = evil          # TypeError; from C: SIGSEGV, with a report

    In the block of a `late_init`, the end is that of the block.

    Args:
        value: a dict or a list, no subclass: a new one is returned, with the same items, whose
            header lies in the phase's pool. What they contain, nested, is frozen into the pool at
            the end. An `Allocation`, a NumPy array or anything else whose memory lies in an open
            pool: that pool is protected at the end, with all that is in it. A `Pool`: likewise.
            A NumPy array elsewhere: a copy in the phase's pool is returned. What is frozen or
            registered already is returned as it is.
        name: of the entry, ``root("global")[name]`` and the reports' paths; the caller's module
            and a number without.

    Returns:
        What is to be used from now on instead of `value`.

    Raises:
        TypeError: a value of another type; the message says what to do with it.
        ValueError: another entry has that name.
        InitError: init, or the late phase, is over.
        ProtectedError: the global pool was protected by somebody.
        MemoryError: nothing was registered.

    Idea: the Linux kernel's ``__ro_after_init`` (Kees Cook, 2016).
    """
    phase = current()
    module = _caller()
    if name is not None:
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"the name of an entry is a str, not {type(name).__name__}")
        if not name:
            raise ValueError("the name of an entry cannot be empty")
    with books:
        phase.need_open(repr(name) if name else f"a {type(value).__name__}", module)
        taken: T = phase.take(value, name, module)
    return taken


def mark_rodata_ro(*, strict: bool = False) -> InitReport:
    """Ends init: everything that was registered is read-only from now on, for good.

    In this order: the hooks before the end are called; dicts and lists are frozen where they are;
    the global pool, and all pools that were registered, are protected, and static data of C
    extensions; init functions are closed; the hooks after the end are called. A hook that raises
    and a pool that cannot be protected do not keep the rest from happening.

    Call it again, and the report of the first call is returned: nothing is done twice, and no
    failure is forgotten, what failed is tried again. Of several threads one does it, the others
    wait and get its report. It may be called while modules are being imported (the report names
    them) and by an atexit function. A child of ``fork`` has a phase of its own: before the end, it
    can end its copy; after it, it has ended there, too. With PMALLOC_RODATA=off all is the same,
    but that no memory is protected: dicts and lists raise TypeError, init functions InitError.

    Args:
        strict: refuse, before anything is changed, where somebody still refers to the original of
            what was copied into the pool, where something cannot be frozen, where a generator or
            coroutine of an init function has not ended, or where a hook before the end raised.
            Init goes on, then; hooks that have returned are not called again.

    Returns:
        What was protected, how much, and what stands against it. print() it.

    Raises:
        InitError: `strict`, and something stands against it; or it was called by a hook of the
            end, or while the interpreter is finalised.
        InitFailures: an ExceptionGroup: init is over, and all that could be protected is, but not
            what the exceptions in it name; `report` has the rest.

    Idea: the Linux kernel's ``mark_rodata_ro()`` and ``mark_readonly()``.
    """
    return main.end(strict=strict)


def late_init(name: str, *, strict: bool = False) -> InitPhase:
    """A phase of init of its own, for what is loaded when init may be over: a plugin.

    ::

        with pmalloc.late_init("plugin") as phase:
            import plugin               # its ro_after_init(), its @init functions
        print(phase.report)             # what they registered is read-only from here

    What is registered by the code of the block belongs to it: `ro_after_init`, `init` and hooks,
    and static data of C extensions that it loads. They end when the block does, as
    `mark_rodata_ro` ends the rest; that does not touch them. Blocks nest, each ends on its own.
    As a ContextVar does, the block counts for the code in it, not for other threads; for asyncio's
    tasks, if they were made in it, and until it has ended.

    A block that an exception leaves is abandoned: nothing is protected or closed, what it
    registered stays as it is. So does one that is never left; reports name it.

    Args:
        name: of the phase and its pool; where an earlier phase of that name has left its pool, the
            pool is ``NAME@2`` and so on.
        strict: as for `mark_rodata_ro`. Where the end is refused, ``phase.end()`` tries again.

    Raises: when the block begins, or as `mark_rodata_ro` when it ends:
        InitError: it was begun before; or the interpreter is being finalised.
        ValueError: no pool can have that name, or a pool has it that is no late phase's.

    Idea: a module's init section in the Linux kernel, which is freed when it is loaded.
    """
    return InitPhase(name, strict=strict)


@overload
def init[F](target: F, /, *, drop: bool = False) -> F: ...
@overload
def init[F](*, drop: bool = False) -> Callable[[F], F]: ...
def init(target: Any = None, /, *, drop: bool = False) -> Any:
    """Marks what may run only during init; afterwards a call raises `InitError`. A decorator.

    The very same object is returned, and costs nothing during init. At the end of init (of the
    late phase, in the block of a `late_init`) it is closed: a call raises before its first
    statement, whoever calls, by whatever way. ::

        @pmalloc.init
        def load_routes(): ...

    - Functions, methods, ``async`` functions, generators: a call raises, not just the first step.
      What a call made before is told of in the report; what did not start raises at its first
      step; what is in the midst of it, a running call too, goes on.
    - A classmethod, staticmethod, property or cached_property: the functions in it.
    - A class: it makes no instances any more, subclasses neither, and its own methods and those of
      classes in its body raise; ``__del__`` does not. Other attributes can still be read.
    - A module, ``pmalloc.init(sys.modules[__name__])`` as its first statement: importing or
      reloading it after the end raises there. The functions and classes that its code made are
      closed at the end, as above.

    Where there are other decorators it belongs below those that make no function (lru_cache).

    Args:
        target: what to mark.
        drop: forget the code, and the constants that only it has, at the end. Without, they are
            kept, for debuggers.

    Raises:
        TypeError: it is nothing of these; a builtin, or a class of an extension.
        InitError: init, or the late phase, is over.

    Idea: the Linux kernel's ``__init``, whose memory is given back when it has booted.
    """
    if target is None:

        def mark[F](target: F) -> F:
            return _mark(target, drop, _caller())

        return mark
    return _mark(target, drop, _caller())


def _mark[F](target: F, drop: bool, module: str) -> F:
    phase = current()
    name = getattr(target, "__module__", None)
    with books:
        phase.need_open(
            f"{type(target).__name__} {_init_functions.name_of(target)}",
            name if isinstance(name, str) else module,
        )
        phase.take_target(target, drop)
    return target


def before_mark_rodata_ro[F: Hook](hook: F) -> F:
    """Has a function called at the end of init, before anything is protected; a decorator.

    Hooks are called once each, without arguments, in the order in which they were added, by the
    thread that ends init. They may register data, and more hooks. One that raises does not keep
    the rest from happening: see `mark_rodata_ro`. They belong to the phase they were added in; in
    the block of a `late_init` that is its own. A hook must not wait for a thread that ends a phase.

    Raises:
        TypeError: it cannot be called.
        InitError: init, or the late phase, is over.
    """
    return _hook(hook, True, _caller())


def after_mark_rodata_ro[F: Hook](hook: F) -> F:
    """Has a function called when everything is protected; else as `before_mark_rodata_ro`."""
    return _hook(hook, False, _caller())


def _hook[F: Hook](hook: F, before: bool, module: str) -> F:
    if not callable(hook):
        raise TypeError(f"a hook can be called; {type(hook).__name__} cannot")
    phase = current()
    with books:
        phase.need_open(f"the hook {_init_functions.name_of(hook)}", module)
        phase.take_hook(hook, before)
    return hook

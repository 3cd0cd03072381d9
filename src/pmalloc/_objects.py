"""freeze, thaw, and looking frozen objects up."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any, cast, overload

from . import _core
from ._core import FrozenDict, FrozenList, FrozenSet
from ._pools import Policy, Pool, _live, give_up

_numbers = count(1)

# A type, or several: their instances stay outside of the pool.
type Externals = type | Iterable[type]


def _free_name() -> str:
    """'frozen-1', or the next number no live pool has."""
    while (name := f"frozen-{next(_numbers)}") in _live:
        pass
    return name


@overload
def freeze[K, V](
    obj: dict[K, V],
    *,
    name: str | None = None,
    externals: Externals = (),
    seal: bool = False,
    on_violation: Policy | None = None,
) -> FrozenDict[K, V]: ...
@overload
def freeze[T](
    obj: list[T],
    *,
    name: str | None = None,
    externals: Externals = (),
    seal: bool = False,
    on_violation: Policy | None = None,
) -> FrozenList[T]: ...
@overload
def freeze[T](
    obj: set[T],
    *,
    name: str | None = None,
    externals: Externals = (),
    seal: bool = False,
    on_violation: Policy | None = None,
) -> FrozenSet[T]: ...
@overload
def freeze[T](
    obj: T,
    *,
    name: str | None = None,
    externals: Externals = (),
    seal: bool = False,
    on_violation: Policy | None = None,
) -> T: ...
def freeze(
    obj: Any,
    *,
    name: str | None = None,
    externals: Externals = (),
    seal: bool = False,
    on_violation: Policy | None = None,
) -> Any:
    """Deep-copies an object into a pool of its own, protected, as live objects.

    Dicts become `FrozenDict`, lists `FrozenList`, sets `FrozenSet`. Instances of Python
    classes, dataclasses, attrs classes and msgspec Structs stay instances of their class, by
    way of a subclass that refuses to set attributes. Everything else keeps its exact type.
    All of it is immortal and not seen by the garbage collector. What is frozen already is
    returned as it is, and no pool is made.

    Enum members, classes, functions, modules, compiled patterns, paths and tzinfo objects are
    external: frozen objects point to them, they stay where they are, and are kept alive.

    Args:
        obj: built of what freezes, nested in any way, with shared parts and cycles; the table
            is in docs/freezes-into.md, and `preview` tells about a given object.
        name: of the pool; ``frozen-1`` and so on without.
        externals: a type, or types, whose instances are external too.
        seal: make the pool's protection irrevocable, as `Pool.protect` does.
        on_violation: what follows a write to it, as for `Pool`.

    Returns:
        The new root. What lies below keeps its type in a type checker's eyes, for a FrozenDict is
        a dict and a FrozenList a list.

    Raises:
        UnfreezableError: something in it is of another type; `path` says where.
        ValueError: a live pool has that name.
        MemoryError, OSError: nothing was frozen, nothing is left behind. Without `mseal` in the
            kernel, `seal` is ENOSYS.
    """
    if _core.is_frozen(obj):
        return obj
    pool = Pool(_free_name() if name is None else name, on_violation=on_violation)
    try:
        frozen: object = pool.freeze(cast("object", obj), externals=externals)
    except BaseException as error:
        # Where code of the user's has seen frozen objects, a __hash__ for one, the traceback may
        # hold some: then the pool stays.
        give_up(pool, error)
        raise
    try:
        pool.protect(seal=seal)
    except BaseException:
        del frozen
        pool.destroy(force=True)
        raise
    return frozen


@overload
def thaw[K, V](obj: dict[K, V]) -> dict[K, V]: ...
@overload
def thaw[T](obj: list[T]) -> list[T]: ...
@overload
def thaw[T](obj: FrozenSet[T]) -> set[T]: ...
@overload
def thaw[T](obj: T) -> T: ...
def thaw(obj: Any) -> Any:
    """A plain, mutable deep copy: dict for FrozenDict, list for FrozenList, set for FrozenSet.

    Nothing of the copy lies in a pool. Parts that are not frozen are copied too where they are
    of a kind that freezes; objects of other types are the same ones in the copy.

    Raises:
        MemoryError: out of memory.
    """
    return _core.thaw(obj)


def is_protected(obj: object) -> bool:
    """Whether the memory of an object, or of an Allocation, is a protected pool's.

    False where the pool keeps no such promise: its policy is "off", or "warn" and it is tainted.
    """
    return _core.is_protected(obj)


def root(name: str) -> object:
    """The object that was frozen last into the live pool of that name.

    The pointer is read from the pool's protected metadata. A name in a module, to
    which `freeze` was assigned, can be made to point elsewhere by a stray write; this
    look-up cannot.

    Raises:
        KeyError: no live pool has that name, or it has no root.
        CorruptionError: the metadata was forged.
    """
    return _core.root(name)

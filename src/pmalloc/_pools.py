"""Pool, and the register of those that are alive."""

from __future__ import annotations

import contextlib
import os
from _thread import allocate_lock
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, SupportsIndex, overload

from . import _core, _handler, _handler_state, _origin, _rare_fallback

if TYPE_CHECKING:
    import array

    import numpy.typing as npt

    from . import _numpy, _numpy_context, _typed
    from ._references import Reference

# Every pool with its name until it is destroyed. A dropped Pool is not the end of
# its memory: nobody knows who still reads it.
_live: dict[str, Pool] = {}


type Policy = Literal["oops", "warn", "audit", "off"]
type Mode = Literal["ro", "wr", "auto_ro", "auto_wr", "start_wr"]
_NO_DOOR = ("mprotect", "none")
_WARN = 1 << 2  # PMALLOC_WARN
_AUDIT = 1 << 3  # PMALLOC_AUDIT

_global: Pool | None = None
_global_lock = allocate_lock()
os.register_at_fork(
    before=_global_lock.acquire,
    after_in_parent=_global_lock.release,
    after_in_child=_global_lock.release,
)


def _expect_violations() -> None:
    """Loads what tells of them while that is sure to work: a program may change its root later."""
    in_use = _core.policies_in_use()
    if in_use & (_WARN | _AUDIT):
        from . import _violations

        if in_use & _WARN:
            _violations.listen()


class Pool(_core.Pool):
    """A named group of chunks of memory that are protected together.

    Its life: create (maps nothing), allocate, freeze, initialise, `protect`, read,
    and perhaps `destroy`. There is no unprotect. As a context manager it protects
    on success and destroys itself on an exception, unless frozen objects live in it::

        with Pool("config") as pool:
            config = pool.freeze(load())

    Args:
        name: 1 to 255 bytes of UTF-8; reports name the pool by it, and `root` finds it.
        chunk_size: bytes of each chunk, rounded up to pages; 0 lets chunks grow
            with the pool, up to huge pages of 2 MiB.
        backing: what chunks are made of. "private" is memory of this process. "memfd" is one
            anonymous file a pool: it can become immutable, and be handed to other processes.
            While such a pool is open, a forked child shares it: what either writes, both see,
            and only the process that made it may allocate from it or free.
        redzones: 16 bytes or more of a secret pattern on both sides of every allocation. They
            are looked at by `free`, `protect`, `destroy` and `check`: who wrote over an end while
            the pool was open is found out.
        hardened: redzones, and every link of the metadata that lies in writable memory is checked
            before it is followed. For all pools of a process: PMALLOC_HARDENED=1 in the
            environment (not under ``python -E`` or ``-I``, nor set-uid).
        on_violation: what follows a write to the protected pool. "oops": a report, and the end
            of the process. "warn": the first is reported, the page becomes writable, the pool is
            tainted, and a `ProtectionWarning` comes. "audit": each takes effect and is recorded,
            see `violations`, and the page stays read-only. "off": nothing is protected. None:
            what PMALLOC_RODATA says, else "oops". PMALLOC_RODATA=off has the last word. What can't
            be done in a sealed pool, or a memfd, is "oops": ``stats()["policy"]`` is what it is.

        mode: when its memory becomes read-only, and whether a rare write may change it then. "ro":
            at `protect`, for good. "wr": at `protect`, then write-rare. "auto_ro", "auto_wr": each
            chunk when the next one is begun; finish what you have allocated before you allocate
            again. "start_wr": write-rare from the first byte; no redzones, and nothing is frozen
            into it. See `rare_write`.

    Raises:
        ValueError: a live pool has that name already, or no pool can have it.
        MemoryError: out of memory.
        OSError: the kernel refused to install a signal handler, or has no memfd.

    Warns:
        RuntimeWarning: once a process: its mode has rare writes, and they can't be made without
            opening pages for a moment. It says why; `stats` has the way as "rare_write".

    Idea: the Linux kernel's pmalloc (Igor Stoppa, 2017-2018).
    """

    def __init__(
        self,
        name: str,
        *,
        chunk_size: int = 0,
        backing: Literal["private", "memfd"] = "private",
        redzones: bool = False,
        hardened: bool = False,
        on_violation: Policy | None = None,
        mode: Mode = "ro",
        _global: bool = False,
    ) -> None:
        # __new__ took them
        del chunk_size, redzones, hardened, on_violation, _global
        if name in _live:
            raise ValueError(
                f"a live pool has the name {name!r} already; destroy it first, or choose another"
            )
        if mode in {"wr", "auto_wr", "start_wr"} and self.stats()["rare_write"] in _NO_DOOR:
            _rare_fallback.tell(name, backing)
        _handler.install()  # guard pages are there to be hit before protect() too
        _expect_violations()
        _live[name] = self
        _origin.created(self)

    def protect(self, revoke: bool = False, *, seal: bool = False, immutable: bool = False) -> None:
        """Makes the pool's memory, and what describes it, read-only. For good.

        All or nothing: where the kernel refuses any part of it, the pool is open as before.

        Args:
            revoke: protect even while writable views of allocations are alive; a write
                through one of them is a violation from then on.
            seal: also keep code of this process from making it writable again, or putting
                something else in its place. Such a pool can't be destroyed. Linux 6.10.
            immutable: seal, and make it impossible for anybody to write the memory by any means,
                `/proc/self/mem` and other processes included. Needs backing="memfd".

        Raises:
            CorruptionError: a redzone was hit, or a link overwritten; the pool is open as before.
            BufferError: writable views are alive, and `revoke` is false. Arrays need no revoke.
            ValueError: `immutable`, and the pool's memory is private.
            ProtectedError: the pool is protected already.
            DestroyedError: the pool was destroyed.
            OSError: the kernel refused. `errno` is ENOSYS where it can't seal (EPERM in some
                sandboxes), EBUSY where somebody may still write the memory of a pool that is to
                become immutable: pages pinned for input or output, or a child that was forked
                while the pool was open.
            MemoryError: no mapping left, or no memory for the directory of an immutable pool.

        Idea: ``mseal`` (Jeff Xu, Linux 6.10), memfd seals (David Herrmann, Linux 3.17).
        """
        if self.state == "open":
            if _handler.install():
                _handler_state.warn_if_blocked()
            _expect_violations()
        if not self._arrays or self.state != "open":
            super().protect(revoke, seal=seal, immutable=immutable)
            _origin.protected(self)
            return
        from . import _readonly

        readonly = _readonly.Readonly(self, self.__dict__.get("_made"), revoke)
        try:
            super().protect(revoke, seal=seal, immutable=immutable)
        except BaseException:
            readonly.undo()
            raise
        readonly.settle()
        _origin.protected(self)

    def ndarray(
        self,
        shape: SupportsIndex | Sequence[SupportsIndex],
        dtype: npt.DTypeLike = float,
        *,
        order: Literal["C", "F"] = "C",
    ) -> npt.NDArray[Any]:
        """A NumPy array of zeroes whose data lies in the pool, at a multiple of 64 bytes.

        protect() makes it non-writeable, and the views of it that can be found: those that a
        variable, a container or an attribute refers to. When the last of them is dropped while
        the pool is open, the memory can be used again.

        Args:
            shape: the dimensions, or one.
            dtype: of fixed size, without Python objects in it.
            order: which index varies fastest: "C" the last, "F" the first.

        Raises:
            ImportError: there is no NumPy.
            TypeError: a dtype that is none, or holds Python objects.
            ValueError: dimensions no array can have.
            ProtectedError, DestroyedError, MemoryError: as `alloc`.

        Idea: ``flags.writeable``, NumPy's own lock, with one that holds.
        """
        from . import _numpy

        return _numpy.ndarray(self, self._known_arrays(), shape, dtype, order)

    def copy_array(self, array: npt.NDArray[Any], /) -> npt.NDArray[Any]:
        """A copy of a NumPy array, of the same dtype, shape and order, with its data in the pool.

        Args:
            array: a plain ndarray, or a memmap; not of Python objects.

        Raises:
            ImportError, TypeError, ProtectedError, DestroyedError, MemoryError: as `ndarray`.
        """
        from . import _numpy

        return _numpy.copy_array(self, self._known_arrays(), array)

    def numpy(self) -> _numpy_context.NumPyContext:
        """A context manager in which NumPy allocates the data of all arrays in the pool.

        Code in the block needs no change: what ``np.load``, ``np.zeros``, arithmetic, or pandas
        make there lies in the pool; what is dropped before protect() gives its memory back, and
        ``resize`` works. protect() makes the arrays, and their views, non-writeable, for good.
        The block counts for its thread and its asyncio task; others, and threads that are started
        in it, are as before. A task that is created in it inherits it. Blocks nest, and the same
        context manager may be entered again.

        Under PMALLOC_RODATA=off, or in a pool with ``on_violation="off"``, NumPy's own handler
        stays in place.

        Raises:
            ImportError: there is no NumPy, or one before 1.22.
            PmallocError: the pool's mode is one in which memory becomes read-only on its own.
            ProtectedError, DestroyedError: as `alloc`. Who allocates when the pool was protected
                within the block gets NumPy's MemoryError; a note says why.

        Idea: NumPy's NEP 49 (Matti Picus).
        """
        from . import _numpy_context

        return _numpy_context.numpy(self)

    def struct[T: _typed.Ctypes](self, cls: type[T], /, *args: Any, **fields: Any) -> T:
        """A ctypes structure, union or array whose memory lies in the pool; zeroed.

        After protect() its fields are read as before; a store into one is a violation, for ctypes
        asks nobody. As long as it lives, so does its memory, and destroy() refuses.

        Args:
            cls: a class derived from ``ctypes.Structure`` or ``ctypes.Union``, or an array type as
                ``c_int * 4``. What its pointers lead to stays where it is.
            args, fields: as ``cls(*args, **fields)`` takes them.

        Raises:
            TypeError: another type, or arguments that it does not take.
            ProtectedError, DestroyedError, MemoryError: as `alloc`.
        """
        from . import _typed

        made: T = _typed.struct(self, cls, args, fields)
        return made

    @overload
    def array(self, n: int, itemsize: int, /) -> _core.Allocation: ...
    @overload
    def array(self, typecode: str, values: Iterable[Any] = (), /) -> memoryview[Any]: ...
    @overload
    def array(self, values: array.array[Any], /) -> memoryview[Any]: ...
    def array(self, first: Any, second: Any = None, /) -> _core.Allocation | memoryview[Any]:
        """Items of one type, in the pool.

        ``array(n, itemsize)`` is an Allocation of `n` items of `itemsize` zeroed bytes.

        ``array(typecode, values)`` and ``array(values)`` copy what ``array.array`` would hold, and
        answer a memoryview of that type and length: ``pool.array("d", [1.5, 2.5])``. It may be
        written until protect(), which does not wait for it to go; from then on it and views of it
        are read-only. When the last is dropped while the pool is open, the memory can be used
        again.

        Args:
            typecode: of module ``array``, but for "u" and "w".
            values: numbers, bytes, or an ``array.array``.

        Raises:
            ValueError: `n` is negative or `itemsize` less than 1, or no such type code.
            TypeError, OverflowError: values that are none of that type.
            ProtectedError, DestroyedError, MemoryError: as `alloc`; the last also where `n` times
                `itemsize` is more than there can be.
        """
        if isinstance(first, str) or hasattr(first, "typecode"):
            from . import _typed

            return _typed.typed_array(self, first, second)
        return super().array(first, second)

    def new[**P, R: _core.Record](
        self, cls: Callable[P, R], /, *args: P.args, **fields: P.kwargs
    ) -> R:
        """A live `Record` whose fields lie in the pool.

        It is made as ``cls(**fields)``, in ordinary memory, and then copied. Until the pool is
        protected its fields are assigned as any object's; then, in a pool whose mode allows it, by
        `rare_write` only. It is immortal, as frozen objects are, and its class is kept alive by the
        pool; frozen objects may refer to it.

        Args:
            cls: a class derived from `Record`.
            fields: what differs from the defaults, by name; or what an ``__init__`` of the class
                takes.

        Raises:
            TypeError: cls is no class of Records, has no such field, or the value is of a wrong
                type.
            OverflowError, ValueError: a value that the field cannot hold.
            ProtectedError, DestroyedError, MemoryError: as `alloc`.
        """
        return self._place(cls(*args, **fields))

    def references(self, limit: int = 100) -> list[Reference]:
        """Words in writable memory that lead to the pool's objects or allocations: advice.

        Before a pool with frozen objects is destroyed, somebody has to know that nobody uses
        them. This looks through all writable memory of the process, heap, stacks and data
        segments, and through the data of other pools, after the cache of types was cleared. It
        takes about a second for a gigabyte; mappings above 64 GiB are left out. Call `gc.collect()`
        first: garbage counts.

        What it finds may be a number that looks like an address, or what is left of a stack
        frame. What it does not find may be in a register, in memory of a device, or in a child
        process. An empty list is no proof.

        Args:
            limit: return at most so many.

        Returns:
            What was found, in the order of addresses.

        Raises:
            OSError: there is no /proc/self/maps to be read.
            DestroyedError: the pool was destroyed.

        Idea: conservative garbage collection (Hans Boehm, 1988).
        """
        from . import _references

        return _references.find(self, limit)

    def _known_arrays(self) -> _numpy.Arrays:
        from . import _numpy

        made: _numpy.Arrays = self.__dict__.setdefault("_made", _numpy.Arrays())
        return made

    def destroy(self, force: bool = False) -> None:
        """Ends the pool: memory goes back, its address range stays reserved.

        Whoever still uses it faults, and the report says *use after destroy*.

        Args:
            force: destroy although frozen objects live in the pool. They are immortal,
                nothing counts their users: be sure that there are none. Garbage that
                awaits its collection is one too: call `gc.collect()` first.

        Raises:
            BufferError: views of its allocations, or arrays whose data lies in it, are alive.
            PmallocError: frozen objects live in it, and `force` is false.
            CorruptionError: a redzone was hit, and `force` is false; the pool is as before.
            SealedError: the pool is sealed; it stays for the life of the process.
            DestroyedError: it was destroyed before.
        """
        super().destroy(force)
        _origin.destroyed(self)
        if _live.get(self.name) is self:
            del _live[self.name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            if self.state == "open":
                self.protect()
        elif self.state == "open":
            give_up(self, error)


def give_up(pool: Pool, error: BaseException | None) -> None:
    """Ends an open pool because of an exception; one with frozen objects is protected instead.

    They may be in the frames of the traceback: destroying them would turn an exception into the
    end of the process.
    """
    reason: object = None
    # Not by asking destroy(): it looks for references first, through all memory.
    if objects := pool.stats()["objects"]:
        reason = f"{objects} frozen objects live in it, and the traceback may hold some"
    else:
        try:
            pool.destroy()
        except (BufferError, _core.PmallocError) as error_of_destroy:
            reason = error_of_destroy
    if reason is None:
        return
    with contextlib.suppress(BufferError, _core.CorruptionError):
        pool.protect()
    # The exception that is on its way is the one to see.
    if error is not None:
        error.add_note(f"pool {pool.name!r} was left {pool.state}: {reason}")


def global_pool() -> Pool:
    """The pool for those who want none of their own; made at the first call, named "global".

    It is a pool like any other, one for the whole process: `pmalloc_global_pool()` in C is the
    same. Whoever protects it protects what all others put there: from then on it refuses to
    allocate and to freeze, as any protected pool does, and there is no second one. Destroyed, it is
    made anew at the next call.

    Raises:
        ValueError: a live pool that somebody else made has that name.
        MemoryError, OSError: as `Pool`.

    Idea: the single default pool of the Linux kernel's pmalloc series.
    """
    global _global
    with _global_lock:
        if _global is None or _global.state == "destroyed":
            _global = Pool("global", _global=True)
        return _global


def pools() -> list[Pool]:
    """The pools that are alive, oldest first."""
    return list(_live.values())


def pool_of(obj: object) -> Pool | None:
    """The pool an object's memory, or an Allocation, lies in; None for all others."""
    number = _core.pool_id_of(obj)
    if number is None:
        return None
    for pool in _live.values():
        if pool._id == number:
            return pool
    return None

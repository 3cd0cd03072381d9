"""Pool, and the register of those that are alive."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Self

from . import _core, _handler

# Every pool with its name until it is destroyed. A dropped Pool is not the end of
# its memory: nobody knows who still reads it.
_live: dict[str, Pool] = {}


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

    Raises:
        ValueError: a live pool has that name already, or no pool can have it.
        MemoryError: out of memory.
        OSError: the kernel refused to install a signal handler.

    Idea: the Linux kernel's pmalloc (Igor Stoppa, 2017-2018).
    """

    def __init__(self, name: str, *, chunk_size: int = 0) -> None:
        del chunk_size  # __new__ took it
        if name in _live:
            raise ValueError(
                f"a live pool has the name {name!r} already; destroy it first, or choose another"
            )
        _handler.install()  # guard pages are there to be hit before protect() too
        _live[name] = self

    def protect(self, revoke: bool = False) -> None:
        """Makes the pool's memory, and what describes it, read-only. For good.

        Args:
            revoke: protect even while writable views of allocations are alive; a write
                through one of them is a violation from then on.

        Raises:
            BufferError: writable views are alive, and `revoke` is false.
            ProtectedError: the pool is protected already.
            DestroyedError: the pool was destroyed.
            OSError, MemoryError: the kernel refused; the pool is open as before.
        """
        if self.state == "open":
            _handler.install()
        super().protect(revoke)

    def destroy(self, force: bool = False) -> None:
        """Ends the pool: memory goes back, its address range stays reserved.

        Whoever still uses it faults, and the report says *use after destroy*.

        Args:
            force: destroy although frozen objects live in the pool. They are immortal,
                nothing counts their users: be sure that there are none. Garbage that
                awaits its collection is one too: call `gc.collect()` first.

        Raises:
            BufferError: views of its allocations are alive.
            PmallocError: frozen objects live in it, and `force` is false.
            DestroyedError: it was destroyed before.
        """
        super().destroy(force)
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
    try:
        pool.destroy()
    except (BufferError, _core.PmallocError) as reason:
        with contextlib.suppress(BufferError):
            pool.protect()
        # The exception that is on its way is the one to see.
        if error is not None:
            error.add_note(f"pool {pool.name!r} was left {pool.state}: {reason}")


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

"""`with pool.numpy():` NumPy allocates in a pool, in this context.

Which handler allocates is a context variable of NumPy's own. Beside it there is one of ours: the
chain of the blocks that the context is in, innermost first. A block that ends puts back what was
there before the outermost of those that ended with it; so blocks that end out of turn, as
suspended generators do, leave nothing behind.
"""

from __future__ import annotations

import importlib
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    from ._pools import Pool

_ready = False


class _Block:
    """One `with` that was entered."""

    __slots__ = ("before", "ended", "handler", "outer", "owner", "refusals")

    def __init__(
        self, owner: NumPyContext, outer: _Block | None, handler: object, refusals: int
    ) -> None:
        self.owner = owner
        self.outer = outer
        self.handler = handler  # keeps it alive, as the arrays do; None: nothing was installed
        self.before: object = None  # the handler before it
        self.refusals = refusals
        self.ended = False


_innermost: ContextVar[_Block | None] = ContextVar("pmalloc_numpy", default=None)


def get_ready() -> None:
    """Finds NumPy's functions, and makes sure of what _core believes of its arrays.

    Raises:
        ImportError: there is no NumPy, or one that is not known.
    """
    global _ready
    if _ready:
        return
    from ._numpy import _numpy

    np = _numpy()
    core = "numpy._core" if int(np.__version__.split(".")[0]) >= 2 else "numpy.core"
    umath = importlib.import_module(f"{core}._multiarray_umath")
    probe = np.zeros(3)
    address: int = probe.__array_interface__["data"][0]
    _core.numpy_init(umath._ARRAY_API, np.ndarray, probe, address)  # as often as it likes
    _ready = True


class NumPyContext:
    """What `Pool.numpy` answers."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._entered: list[_Block] = []

    def __enter__(self) -> Pool:
        pool, outer = self._pool, _innermost.get()
        pool._need_open("allocate arrays in")
        if pool.stats()["policy"] == "off":
            block = _Block(self, outer, _stock(outer), 0)
        else:
            block = _Block(self, outer, _core.numpy_handler(pool), _core.numpy_refusals(pool)[0])
        self._entered.append(block)
        if block.handler is not None:
            block.before = _core.numpy_swap(block.handler)
        _innermost.set(block)
        return pool

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        block = innermost = _innermost.get()
        while block is not None and (block.owner is not self or block.ended):
            block = block.outer
        if block is None and self._entered:
            block = self._entered[-1]  # entered in another context: of a generator, say
        if block is None:
            raise RuntimeError("this `with pool.numpy()` was not entered, or has ended")
        block.ended = True
        self._entered.remove(block)
        if innermost is not None and innermost.ended:  # it, or one within it that ended elsewhere
            _leave(innermost)
        if isinstance(error, MemoryError):
            self._explain(error, block.refusals)

    def _explain(self, error: MemoryError, before: int) -> None:
        """NumPy says how much it wanted; the pool says why there was nothing."""
        refusals, reason = _core.numpy_refusals(self._pool)
        if refusals == before or reason is None:
            return
        advice = ""
        if isinstance(reason, _core.ProtectedError):
            advice = ", or leave `with pool.numpy()` before it is protected"
        error.add_note(f"{type(reason).__name__}: {reason}{advice}")


def _leave(block: _Block) -> None:
    """Puts back what was before the block, and before those around it that have ended already."""
    handler, outer = block.before, block.outer
    while outer is not None and outer.ended:
        handler = outer.before if outer.handler is not None else handler
        outer = outer.outer
    if handler is not None:
        _core.numpy_swap(handler)
    _innermost.set(outer)


def _stock(outer: _Block | None) -> object:
    """The handler there was before any pool's; None where that is in place."""
    found: object = None
    while outer is not None:
        if outer.handler is not None:
            found = outer.before
        outer = outer.outer
    return found


def numpy(pool: Pool) -> NumPyContext:
    """See Pool.numpy."""
    get_ready()
    pool._need_open("allocate arrays in")
    if pool.mode not in {"ro", "wr"}:
        raise _core.PmallocError(
            f"NumPy cannot allocate in pool {pool.name!r}: in mode {pool.mode!r} memory becomes "
            "read-only before protect(), and arrays would not know; use mode 'ro' or 'wr'"
        )
    return NumPyContext(pool)

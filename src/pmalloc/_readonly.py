"""What shows a pool's memory as writeable, and must not from protect() on.

NumPy's arrays, whoever allocated their data, and memoryviews. So that honest code gets an exception
and no signal.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from ._numpy import Arrays
    from ._pools import Pool


def _kinds(ndarray: type) -> tuple[type, ...]:
    """All of the arrays' classes: ndarray and all classes that are derived from it."""
    found: dict[type, None] = {}
    todo = [ndarray]
    while todo:
        cls = todo.pop()
        if cls not in found:
            found[cls] = None
            todo += type.__subclasses__(cls)
    return tuple(found)


def _with_bases(views: list[Any], ndarray: type) -> list[Any]:
    """Arrays, and those they are views of: an owner may be in sight only by its view."""
    found: dict[int, Any] = {}
    for view in views:
        array = view
        while isinstance(array, ndarray):
            found[id(array)] = array
            array = getattr(array, "base", None)
    return list(found.values())


class Readonly:
    """Takes the right to write from them, before the pool is protected.

    Then it is `settle`, or `undo` where the pool could not be protected.

    Raises:
        BufferError: a memoryview of an array may still write, and `revoke` is false.
    """

    def __init__(self, pool: Pool, made: Arrays | None, revoke: bool) -> None:
        self._views: list[Any] = []
        self._found: list[Any] = []
        self._owners: list[tuple[Any, _core.ArrayData]] = []
        self._memory: list[memoryview[Any]] = []
        views = _core.memoryviews()
        try:
            if _core.numpy_blocks(pool):
                self._search(pool, made, views, revoke)
            elif "numpy" in sys.modules:
                from . import _numpy

                self._views = _numpy.make_readonly(pool, made, revoke)
            self._memory = _core.memory_lock(pool, views)
        except BaseException:
            self.undo()
            raise

    def _search(
        self, pool: Pool, made: Arrays | None, memory: list[memoryview[Any]], revoke: bool
    ) -> None:
        """NumPy allocated in the pool: no list of arrays there is, so memory is searched.

        Arrays that no container and no variable refers to are found, too.
        """
        from . import _numpy

        ndarray = _numpy.ndarray_type()
        try:
            found = _core.numpy_find(pool, _kinds(ndarray))
        except OSError:  # no /proc: those in sight it is
            self._views = _numpy.make_readonly(pool, made, revoke)
            found = _with_bases(self._views, ndarray)
        else:
            # Who is an array's base shows what the array shows, and that is found.
            bases = {id(array.base) for array in found}
            _numpy.refuse_memoryviews(pool, [v for v in memory if id(v) not in bases], revoke)
        self._found, self._owners = _core.numpy_lock(pool, found)

    def undo(self) -> None:
        """They may write again: the pool could not be protected."""
        _core.memory_unlock(self._memory)
        _core.numpy_unlock(self._found)
        if self._views:
            from . import _numpy

            _numpy.make_writeable(self._views)

    def settle(self) -> None:
        """The pool is protected: what NumPy owned is the pool's, and never writeable again."""
        _core.numpy_settle(self._owners)

"""NumPy arrays whose data lies in a pool.

The array object, its header, stays in ordinary memory; the data is the pool's. So
that honest code gets NumPy's own ``ValueError: assignment destination is read-only``
and no signal, protect() makes the arrays of the pool non-writeable, and the views of
them that can be found.

NumPy arrays are not known to the garbage collector. What is found is what a
container, an instance, a module, a function or a frame refers to directly; a view
that only an array of objects or C code holds stays writeable, and a write through it
is a violation.
"""

from __future__ import annotations

import inspect
import math
import operator
import sys
import threading
import weakref
from collections.abc import Sequence
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex

from . import _core

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ._pools import Pool


def _numpy() -> ModuleType:
    try:
        import numpy as np
    except ImportError as error:
        raise ImportError(
            "arrays in a pool need NumPy: pip install 'pmalloc[numpy]'", name="numpy"
        ) from error
    return np


def ndarray_type() -> type:
    """numpy.ndarray."""
    found: type = _numpy().ndarray
    return found


class Arrays:
    """The arrays that one pool handed out, as far as they are alive."""

    def __init__(self) -> None:
        self._made: list[weakref.ref[npt.NDArray[Any]]] = []
        self._tidy_at = 64

    def add(self, array: npt.NDArray[Any]) -> None:
        """Keeps it in mind, weakly."""
        if len(self._made) >= self._tidy_at:
            self._made = [ref for ref in self._made if ref() is not None]
            self._tidy_at = 2 * len(self._made) + 64
        self._made.append(weakref.ref(array))

    def all(self) -> list[npt.NDArray[Any]]:
        """Those that are alive."""
        return [array for ref in self._made if (array := ref()) is not None]


def _locals() -> list[object]:
    """What the variables of running functions hold, in all threads.

    This module's own functions are left out: they would hold themselves.
    """
    tops = sys._current_frames()
    tops.pop(threading.get_ident(), None)
    found: list[object] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals is globals():
        frame = frame.f_back
    for top in (frame, *tops.values()):
        frame = top
        while frame is not None:
            if frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # others: a dict that gc knows
                variables = frame.f_locals
                found += variables.values()
                if sys.version_info < (3, 13):
                    variables.clear()  # a copy that the frame keeps, and with it the arrays
            frame = frame.f_back
    return found


def _views_in_sight(ndarray: type, known: list[Any]) -> list[object]:
    """The arrays and memoryviews that variables and the garbage collector's objects refer to.

    Tuples and dicts of nothing but numbers and arrays are not tracked: looked into, too.
    """
    return _core.in_sight(ndarray, known, _locals())


def _owner(obj: object) -> _core.Pool | None:
    """The pool an array's data lies in, by way of views of views and memoryviews."""
    while type(obj) is not _core.ArrayData:
        try:
            under = obj.obj if type(obj) is memoryview else getattr(obj, "base", None)
        except ValueError:  # released
            return None
        if under is None:
            return _core.numpy_owner(obj)
        obj = under
    return obj.pool


def _writable(pool: Pool, arrays: Arrays | None) -> tuple[list[npt.NDArray[Any]], int]:
    """The writeable arrays of the pool, views included, and how many memoryviews may write."""
    ndarray = ndarray_type()
    # Ten thousand arrays are to take some milliseconds: the first line is for most of them.
    made = arrays.all() if arrays else []
    views = {id(array): array for array in made if array.flags.writeable}
    memory: set[int] = set()
    for obj in _views_in_sight(ndarray, made):
        if type(obj) is memoryview:
            if issubclass(type(_owner_of_memoryview(obj)), ndarray) and _owner(obj) is pool:
                memory.add(id(obj))
            continue
        view: Any = obj
        while issubclass(type(view), ndarray) and id(view) not in views:
            if view.flags.writeable and _owner(view) is pool:
                views[id(view)] = view
            view = view.base
    return list(views.values()), len(memory)


def _owner_of_memoryview(view: memoryview) -> object:
    """What a memoryview that may write shows; None for others."""
    try:
        return None if view.readonly else view.obj
    except ValueError:  # released
        return None


def make_readonly(pool: Pool, arrays: Arrays | None, revoke: bool) -> list[npt.NDArray[Any]]:
    """Makes the pool's arrays, and views of them, non-writeable; answers which were not yet.

    Raises:
        BufferError: a memoryview of an array may still write, and `revoke` is false.
    """
    views, memory = _writable(pool, arrays)
    if not revoke:
        _refuse_if_any(pool, memory)
    for view in views:
        view.setflags(write=False)
    return views


def refuse_memoryviews(pool: Pool, views: list[memoryview[Any]], revoke: bool) -> None:
    """The same refusal, for who finds arrays in another way."""
    ndarray = ndarray_type()
    writable = [v for v in views if issubclass(type(_owner_of_memoryview(v)), ndarray)]
    if not revoke:
        _refuse_if_any(pool, sum(_owner(view) is pool for view in writable))


def _refuse_if_any(pool: Pool, memory: int) -> None:
    if memory:
        raise BufferError(
            f"cannot protect pool {pool.name!r}: {memory} writable memoryview(s) of its arrays are "
            "alive; release them, or pass revoke=True and no longer write to them"
        )


def make_writeable(views: list[npt.NDArray[Any]]) -> None:
    """Undoes it: the pool could not be protected."""
    for view in reversed(views):  # a base comes behind its views, and has to be first
        view.flags.writeable = True


def _refuse(pool: Pool, dtype: np.dtype[Any]) -> None:
    if dtype.hasobject or dtype.kind == "T":
        raise TypeError(
            f"cannot put an array of dtype {dtype} into pool {pool.name!r}: its items are pointers "
            "to Python objects or strings outside; use a dtype of fixed size, or freeze() a list"
        )


def _make(
    pool: Pool, arrays: Arrays, shape: tuple[int, ...], dtype: np.dtype[Any], axes: Sequence[int]
) -> npt.NDArray[Any]:
    """An array whose `axes`, outermost first, are how it lies in memory."""
    np = _numpy()
    _refuse(pool, dtype)
    if any(n < 0 for n in shape):
        raise ValueError(f"an array's dimensions cannot be negative: {shape}")
    strides = [0] * len(shape)
    step = dtype.itemsize
    for axis in reversed(axes):
        strides[axis] = step
        step *= max(1, shape[axis])
    size = math.prod(shape) * dtype.itemsize
    if step > sys.maxsize:
        raise ValueError(f"an array of shape {shape} and dtype {dtype} is too big")
    data = pool._array_memory(size)
    array: npt.NDArray[Any] = np.ndarray(shape, dtype, buffer=data, strides=strides)
    arrays.add(array)
    return array


def ndarray(
    pool: Pool,
    arrays: Arrays,
    shape: SupportsIndex | Sequence[SupportsIndex],
    dtype: npt.DTypeLike,
    order: Literal["C", "F"],
) -> npt.NDArray[Any]:
    """See Pool.ndarray."""
    np = _numpy()
    sizes = tuple(map(operator.index, shape if isinstance(shape, Sequence) else (shape,)))
    if order not in {"C", "F"}:
        raise ValueError(f"order is 'C' or 'F', not {order!r}")
    axes = range(len(sizes)) if order == "C" else range(len(sizes) - 1, -1, -1)
    return _make(pool, arrays, sizes, np.empty(0, dtype).dtype, axes)


def copy_array(pool: Pool, arrays: Arrays, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """See Pool.copy_array."""
    np = _numpy()
    if type(array) not in {np.ndarray, np.memmap}:
        raise TypeError(
            f"cannot copy {type(array).__name__} into pool {pool.name!r}: a plain numpy.ndarray is "
            "needed; numpy.asarray() makes one"
        )
    # As it lies in memory, without gaps: numpy.copy(order="K") does the same.
    axes = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    copy = _make(pool, arrays, array.shape, array.dtype, axes)
    copy[...] = array
    return copy

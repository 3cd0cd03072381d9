"""ctypes structures and typed arrays whose memory is a pool's.

Both lie in an ArrayData, as the data of a NumPy array does: the pool's memory lives as long as
they do, and protect() does not wait for them to go.
"""

from __future__ import annotations

import _ctypes
import array
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._pools import Pool

type Ctypes = _ctypes.Structure | _ctypes.Union | _ctypes.Array[Any]


# What is asked of values of any type, without the type checkers' drawing conclusions from it.
_make: Any = array.array


def _derives(cls: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(cls, type) and issubclass(cls, kinds)


def _is_array(values: object) -> bool:
    return isinstance(values, array.array)


def struct(pool: Pool, cls: Any, args: tuple[Any, ...], fields: dict[str, Any]) -> Any:
    """See Pool.struct."""
    kinds = (_ctypes.Structure, _ctypes.Union, _ctypes.Array)
    told: str = getattr(cls, "__name__", f"an object of {type(cls).__name__}")
    if not _derives(cls, kinds) or cls in kinds:
        raise TypeError(
            f"cannot make a structure in pool {pool.name!r}: a class derived from "
            f"ctypes.Structure or ctypes.Union, or an array type, is needed, not {told}"
        )
    made: Any = cls.from_buffer(pool._array_memory(_ctypes.sizeof(cls)))
    if args or fields:
        made.__init__(*args, **fields)
    return made


def typed_array(pool: Pool, typecode: Any, values: Any) -> memoryview[Any]:
    """See Pool.array."""
    if _is_array(typecode):
        if values is not None:
            raise TypeError("array() takes an array.array alone, or a type code and values")
        typecode, values = typecode.typecode, typecode
    if typecode in ("u", "w"):
        raise TypeError(
            f"cannot make an array in pool {pool.name!r}: there is no memoryview of type code "
            f"{typecode!r}; use bytes, or freeze() the str"
        )
    source = values
    if not _is_array(values) or values.typecode != typecode:
        source = _make(typecode, () if values is None else values)
    pool._need_open("allocate from")
    # A view of nothing has no type: of one item, less that one, it has.
    memory: Any = memoryview(pool._array_memory(max(1, len(source)) * source.itemsize))
    view: memoryview[Any] = memory.cast(source.typecode)[: len(source)]
    view[:] = memoryview(source)
    return view

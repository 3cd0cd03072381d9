"""msgspec's Structs: classes made by C code, laid out as a class with __slots__.

Their metaclass keeps tables about the fields in the class object, so only it can make a
subclass; and it takes no bases but Structs. The twin of a Struct is therefore one that
msgspec makes, and what other twins inherit from FrozenInstance is put into it.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from typing import Any, cast

from . import _core


def _msgspec() -> Any:
    return sys.modules.get("msgspec")


def is_struct(cls: type) -> bool:
    """Whether cls is a msgspec.Struct; imports nothing."""
    msgspec = _msgspec()
    return msgspec is not None and issubclass(cls, msgspec.Struct)


_COMPARISONS = ("__eq__", "__ne__")
_ORDERINGS = ("__lt__", "__le__", "__gt__", "__ge__")


def _is_msgspecs(cls: type, name: str) -> bool:
    """Whether a method is the one that all Structs inherit, not the class's own."""
    return getattr(cls, name) is getattr(_msgspec().Struct, name)


# ---- what other twins inherit ------------------------------------------------------------------


def _setattr(self: object, name: str, value: object) -> None:
    _core.instance_refuse(self, name, value)


def _delattr(self: object, name: str) -> None:
    _core.instance_refuse(self, name)


def _copy(self: object) -> object:
    return _core.instance_copy(self)


def _deepcopy(self: object, memo: object) -> object:
    return _core.instance_deepcopy(self, memo)


def _reduce(self: object) -> object:
    return _core.instance_reduce(self)


def _reduce_ex(self: object, _protocol: object) -> object:
    return _core.instance_reduce(self)


def _hash_of_a_copy(self: object) -> int:
    return hash(_core.instance_copy(self))


def new(cls: type) -> object:
    """Calling the twin, as type(self)(...) in a method does, gives an ordinary instance."""

    def make(_twin: type, /, *args: object, **kwargs: object) -> object:
        return cls(*args, **kwargs)

    return staticmethod(make)


def _class(cls: type) -> object:
    def get(_self: object) -> type:
        return cls

    return property(get)


def _fields(cls: type) -> Callable[[object], object]:
    names = cast("tuple[str, ...]", cast("Any", cls).__struct_fields__)

    def values(struct: object) -> list[object]:
        return [getattr(struct, name) for name in names]

    return values


def _comparison(cls: type, twin: type, operate: Callable[[Any, Any], object]) -> object:
    """Structs compare with their own class only; a twin does with its original, too."""
    read = _fields(cls)

    def compare(self: object, other: object) -> object:
        if type(other) is not cls and type(other) is not twin:
            return NotImplemented
        return operate(read(self), read(other))

    return compare


# ---- the twin ------------------------------------------------------------------------------------


def make_twin(cls: type, namespace: dict[str, object]) -> type:
    """A Struct like cls whose instances refuse to be changed; `namespace` is put into it."""
    config = cast("Any", cls).__struct_config__
    # These two cannot be set on a class that exists.
    namespace = namespace | {"__class__": _class(cls)}
    if config.dict:
        namespace["__dict__"] = property(_core.instance_dict_of)
    twin = cast(
        "type",
        _msgspec().defstruct(
            cls.__name__,
            [],
            bases=(cls,),
            module=cls.__module__,
            namespace=namespace,
            frozen=True,
            eq=config.eq,
            order=config.order,
            gc=config.gc,
            weakref=config.weakref,
            dict=config.dict,
            cache_hash=config.cache_hash,
        ),
    )
    said: dict[str, object] = {
        "__qualname__": cls.__qualname__,
        "__new__": new(cls),
        "__setattr__": _setattr,
        "__delattr__": _delattr,
        "__copy__": _copy,
        "__deepcopy__": _deepcopy,
        "__reduce__": _reduce,
        "__reduce_ex__": _reduce_ex,
    }
    compared = [name for name in _COMPARISONS if config.eq]
    compared += [name for name in _ORDERINGS if config.order]
    for name in compared:
        if _is_msgspecs(cls, name):
            said[name] = _comparison(cls, twin, getattr(operator, name.strip("_")))
    if config.eq:  # else object's, by address
        # The type is part of a Struct's hash, and cache_hash writes it into the instance: so it is
        # a copy that is asked.
        said["__hash__"] = _hash_of_a_copy if _is_msgspecs(cls, "__hash__") else cls.__hash__
    for name, value in said.items():
        type.__setattr__(twin, name, value)
    return twin

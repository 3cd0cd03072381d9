"""What becomes of objects whose types are not built in.

`freeze` knows the built-in types by heart. About every other type it asks `_resolve`,
once, and keeps the answer: its instances are frozen as instances, stay outside, are
replaced by something else first, or cannot be frozen. Users have the first word, by
`register`.
"""

from __future__ import annotations

import abc
import collections
import functools
import io
import reprlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

from . import _core, _structs
from ._errors import UnfreezableError

type Verdict = tuple[str, object]  # see freeze_classes.c

# ---- what users say ---------------------------------------------------------------------------


class _Registration(NamedTuple):
    replace: Callable[[Any], object] | None = None
    omit: frozenset[str] = frozenset()
    external: bool = False
    linked_dict: bool = False


_registered: dict[type, _Registration] = {}


def register(
    cls: type,
    *,
    replace: Callable[[Any], object] | None = None,
    omit: tuple[str, ...] = (),
    external: bool = False,
    linked_dict: bool = False,
) -> None:
    """Tells `freeze` what to do with instances of a class and of its subclasses.

    One of them is said, or `omit` and `linked_dict` together. It holds for what is frozen from now
    on; a class that is registered again takes the new answer, and the nearest class in the method
    resolution order counts.

    Args:
        cls: a class; none of the built-in types that freeze anyway.
        replace: is called with an instance, and what it gives is frozen in its place. It must
            give something that freezes, of another class than the instance, and must not
            change the instance. `thaw` gives that back, not an instance.
        omit: names of attributes that frozen instances do not have: locks, caches, connections.
        external: instances stay outside of the pool, as they are, and are kept alive.
        linked_dict: C code may ask the interpreter for the `__dict__` of an instance
            (`PyObject_GenericGetDict`), as msgspec does to encode dataclasses. Ordinarily that
            is a violation on 3.12 and from 3.14 on, for the interpreter would make one inside
            the instance; with this it finds the one that is there. The price, on these versions:
            attributes take about 2.5 times as long to read. `__dict__`, `vars()` and `getattr`
            never need it, nor does 3.13.

    Raises:
        TypeError: cls is not a class, or not one that can be registered.
        ValueError: none was said, or two that exclude each other.

    Where a registered `replace` breaks the contract, the `freeze` that used it raises
    UnfreezableError.
    """
    if not isinstance(cast("object", cls), type):
        raise TypeError(f"register() needs a class, not {cls!r}")
    if cls in _BUILT_IN or cls is object:
        raise TypeError(f"register() is for classes that freeze does not know, not {cls.__name__}")
    if (replace is not None) + bool(omit or linked_dict) + bool(external) != 1:
        raise ValueError(
            f"register({cls.__name__}) needs replace= or external= or else omit=, linked_dict= or "
            "both"
        )
    _registered[cls] = _Registration(replace, frozenset(omit), external, linked_dict)
    _core.forget_class(cls)


def _registration(cls: type) -> _Registration | None:
    for base in cls.__mro__:
        if (found := _registered.get(base)) is not None:
            return found
    return None


def _checked(cls: type, replace: Callable[[Any], object]) -> Callable[[Any], object]:
    """`replace`, with its contract checked at each use."""

    def stand_in(obj: object) -> object:
        stands = replace(obj)
        if stands is obj or (type(stands) is not object and issubclass(type(stands), cls)):
            raise UnfreezableError(
                f"register({cls.__name__}, replace=...) gave a {type(stands).__name__} again; "
                f"it must give something of another class"
            )
        return stands

    return stand_in


# ---- what is known ----------------------------------------------------------------------------

_BUILT_IN: frozenset[type] = frozenset(
    [
        *(type(None), bool, int, float, complex, str, bytes, bytearray, range, tuple, list),
        *(dict, set, frozenset, types.MappingProxyType),
    ]
)

# They are not data, or data of the interpreter's own kind; a pointer to one is enough.
_EXTERNAL: tuple[type, ...] = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.CodeType,
    types.GenericAlias,
    types.UnionType,
    types.EllipsisType,
    types.NotImplementedType,
)

# The same, by where they are from: asking for them must not import anything.
_EXTERNAL_NAMES = {
    ("datetime", "tzinfo"),
    ("pathlib", "PurePath"),
    ("pathlib._local", "PurePath"),
    ("re", "Pattern"),
}

# Immutable by their own doing: instances keep their very class.
_EXACT = {("uuid", "UUID")}

_SUBCLASS_ADVICE: dict[type, str] = {
    str: "it is a subclass of str; freeze a plain copy, str.__str__(x), or register() one",
    bytes: "it is a subclass of bytes; freeze a plain copy, bytes(x), or register() one",
    int: "it is a subclass of int; freeze a plain int, int(x), or register() one",
    float: "it is a subclass of float; freeze a plain float, float(x), or register() one",
    complex: "it is a subclass of complex; freeze a plain one, complex(x), or register() one",
    set: "it is a subclass of set; freeze a plain copy, set(x), or register() one",
    frozenset: "it is a subclass of frozenset; freeze a plain copy, frozenset(x), or register() "
    "one",
    bytearray: "it is a subclass of bytearray; freeze bytes(x)",
    memoryview: "it is a view of other memory; freeze bytes(x)",
    BaseException: "it is an exception, with frames and whatever is in them; freeze what it says",
    io.IOBase: "it is a file; freeze what it contains",
    types.MethodType: "it is a bound method; keep the object in a pool and call its method",
    functools.partial: "it is a call with some of its arguments; freeze these, or name "
    "functools.partial in externals=",
    collections.deque: "it is a queue; freeze list(x)",
}


_ITERATOR: type = Iterator


def _module_class(cls: type, module: str, name: str) -> bool:
    return cls.__module__ == module and cls.__qualname__ == name


def _is_enum(cls: type) -> bool:
    metaclass: type = type(cls)
    return any(_module_class(base, "enum", "EnumType") for base in type.mro(metaclass))


def _resolve_standard(cls: type) -> Verdict | None:
    """The standard library's own classes that need a word."""
    if _is_enum(cls) or issubclass(cls, _EXTERNAL) or cls is object:
        return "external", None
    if any((base.__module__, base.__qualname__) in _EXTERNAL_NAMES for base in cls.__mro__):
        return "external", None
    if cls.__module__ == "datetime" and cls.__name__ in ("date", "time", "datetime", "timedelta"):
        return "time", None
    if cls is getattr(sys.modules.get("_decimal"), "Decimal", None):
        return "decimal", None
    if cls is collections.OrderedDict:
        return "replace", dict
    if cls is collections.defaultdict:
        return "dict", None
    if (cls.__module__, cls.__qualname__) in _EXACT:
        return "exact", None
    return None


def _resolve(cls: type) -> tuple[str, object, bool]:
    """What becomes of instances of cls; called by the extension, once a class."""
    said = _registration(cls) or _Registration()
    return *_verdict(cls, said), said.linked_dict


def _verdict(cls: type, said: _Registration) -> Verdict:
    if said.external:
        return "external", None
    if said.replace is not None:
        return "replace", _checked(cls, said.replace)
    known = _resolve_standard(cls)
    if known is not None:
        return known
    if _core.Record in cls.__mro__:
        return (
            "refuse",
            "it is a Record in ordinary memory; make it with Pool.new(), and freeze that",
        )
    if _structs.is_struct(cls):
        return "struct", _omits(cls)
    if any(base.__module__ == "numpy" for base in cls.__mro__):
        return _resolve_numpy(cls)
    for base, advice in _SUBCLASS_ADVICE.items():
        if issubclass(cls, base):
            return "refuse", advice
    if issubclass(cls, _ITERATOR):
        return "refuse", "it is consumed by reading; freeze list(x)"
    return "instance", _omits(cls)


def _omits(cls: type) -> frozenset[str] | None:
    said = _registration(cls)
    return said.omit if said is not None and said.omit else None


def _resolve_numpy(cls: type) -> Verdict:
    if cls.__module__ == "numpy" and cls.__qualname__ in {"ndarray", "memmap"}:
        return "adopt", _adopt_array
    if any(_module_class(base, "numpy", "ndarray") for base in cls.__mro__):
        return "refuse", "it is a subclass of numpy.ndarray; freeze numpy.asarray(x)"
    if hasattr(cls, "item"):
        return "refuse", "it is a NumPy scalar; freeze x.item()"
    return "instance", _omits(cls)


def _adopt_array(array: Any, pool: Any) -> object:
    """The same array with its data in the pool. Its header stays in ordinary memory.

    At the end of an init phase an array whose data lies in a pool that is protected now is the
    array that was registered: it has no copy.
    """
    stays: set[int | None] | None = None if pool is None else pool.__dict__.get("_stay")
    if stays and _core.pool_id_of(array) in stays:
        return array
    if array.dtype.hasobject:
        raise UnfreezableError("its items are Python objects; freeze x.tolist()")
    return array if pool is None else pool.copy_array(array)


# ---- twins ------------------------------------------------------------------------------------


class _Recomputed:
    """In place of a functools.cached_property.

    What was cached before is in the instance's __dict__ and found there first; what was not is
    computed at each read.
    """

    def __init__(self, func: Callable[[Any], object]) -> None:
        self.func = func
        self.__doc__ = func.__doc__

    def __get__(self, instance: object, owner: type | None = None) -> object:
        return self if instance is None else self.func(instance)


def _refusing(name: str, base: type) -> Callable[..., object]:
    def refuse(self: object, *_args: object, **_kwargs: object) -> object:
        call = f"{name}()" if not name.startswith("__") else name
        raise TypeError(f"'{type(self).__name__}' object is frozen: {call} would change it")

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = getattr(base, name).__doc__
    return refuse


_MUTATORS: dict[type, tuple[str, ...]] = {
    dict: (
        *("__setitem__", "__delitem__", "__ior__", "__init__"),
        *("clear", "pop", "popitem", "setdefault", "update"),
    ),
    list: (
        *("__setitem__", "__delitem__", "__iadd__", "__imul__", "__init__"),
        *("append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"),
    ),
}


def _class_methods(cls: type) -> dict[str, object]:
    """The class methods, bound to the original.

    So even object.__new__(cls) in one makes an ordinary instance.
    """
    found: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, classmethod) and not name.startswith("__"):
                found[name] = cast("Any", value).__get__(None, cls)
            else:
                found.pop(name, None)
    return found


@reprlib.recursive_repr("namespace(...)")
def _namespace_repr(self: object) -> str:
    """It calls itself otherwise than its type, but not where that is a subclass."""
    return f"namespace({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


def _make_twin(cls: type) -> type:
    """A subclass of cls without storage of its own, for frozen instances."""
    if _structs.is_struct(cls):
        return _structs.make_twin(cls, _class_methods(cls))
    namespace: dict[str, object] = {
        "__slots__": (),
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
        "__new__": _structs.new(cls),
    }
    if cls.__dictoffset__:
        namespace["__dict__"] = _core.instance_dict
    for base, names in _MUTATORS.items():
        if issubclass(cls, base):
            namespace |= {name: _refusing(name, base) for name in names}
    namespace |= _class_methods(cls)
    if cls is types.SimpleNamespace:
        namespace["__repr__"] = _namespace_repr
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, functools.cached_property):
                namespace[name] = _Recomputed(value.func)
            elif isinstance(namespace.get(name), _Recomputed):
                del namespace[name]
    # Some serialisers look for these in the class's own __dict__.
    for name in ("__dataclass_fields__", "__dataclass_params__", "__attrs_attrs__"):
        if hasattr(cls, name):
            namespace[name] = getattr(cls, name)
    if omits := _omits(cls):
        namespace["__getattr__"] = _omitted(cls, omits)
    twin = type.__new__(type(cls), cls.__name__, (_core.FrozenInstance, cls), namespace)
    if isinstance(cls, abc.ABCMeta):
        _abc_init(twin)  # else it would share, and spoil, the original's caches
    return twin


def _abc_init(twin: type) -> None:
    """What ABCMeta does to a new class besides making it."""
    sys.modules["_abc"]._abc_init(twin)


def _omitted(cls: type, names: frozenset[str]) -> Callable[[object, str], object]:
    original = getattr(cls, "__getattr__", None)

    def getattr_(self: object, name: str) -> object:
        if name in names:
            raise AttributeError(
                f"frozen '{cls.__name__}' object has no attribute {name!r}: it was registered to "
                "be left out"
            )
        if original is not None:
            return original(self, name)
        raise AttributeError(
            f"'{cls.__name__}' object has no attribute {name!r}", name=name, obj=self
        )

    return getattr_


_core.set_resolver(_resolve, _make_twin)

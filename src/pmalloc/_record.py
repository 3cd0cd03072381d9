"""Record: live objects with fields of fixed widths, laid out in a pool."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Annotated, Any, ClassVar, NamedTuple, TypeAliasType, cast, get_origin

from . import _core


class _Kind(NamedTuple):
    """How a number is stored; part of an annotation."""

    name: str


class _Size(NamedTuple):
    """How many bytes a field has; part of an annotation."""

    bytes: int


def size(nbytes: int) -> object:
    """The size of a field of text or bytes: ``name: Annotated[str, pmalloc.size(32)]``.

    Args:
        nbytes: 1 to 1,048,576. A str takes up to so many bytes of UTF-8, bytes exactly so many.

    Raises:
        TypeError, ValueError: it is no such number.
    """
    if type(nbytes) is not int:
        raise TypeError(f"size() takes an int, not {type(nbytes).__name__}")
    if not 1 <= nbytes <= 1 << 20:
        raise ValueError(f"size() takes 1 to {1 << 20} bytes, not {nbytes}")
    return _Size(nbytes)


i8 = Annotated[int, _Kind("i8")]
i16 = Annotated[int, _Kind("i16")]
i32 = Annotated[int, _Kind("i32")]
i64 = Annotated[int, _Kind("i64")]
u8 = Annotated[int, _Kind("u8")]
u16 = Annotated[int, _Kind("u16")]
u32 = Annotated[int, _Kind("u32")]
u64 = Annotated[int, _Kind("u64")]
f32 = Annotated[float, _Kind("f32")]
f64 = Annotated[float, _Kind("f64")]

_PLAIN: dict[object, str] = {bool: "bool", int: "i64", float: "f64"}
_OF_NUMBERS: dict[str, type] = {"i": int, "u": int, "f": float}
_SIZED: dict[object, str] = {str: "str", bytes: "bytes"}


def _evaluated(cls: type, annotation: object, frame: FrameType) -> object:
    """What an annotation says, where it was left as text."""
    if not isinstance(annotation, str):
        return annotation
    names = {**frame.f_globals, **frame.f_locals, cls.__name__: cls, **vars(cls)}
    try:
        # The text of a class statement, which is code of the program as all around it.
        return cast("object", eval(annotation, names))  # noqa: S307
    except NameError as error:
        raise TypeError(
            f"{cls.__name__}: the annotation {annotation!r} names what is not there: {error}"
        ) from error


def _kind_of(cls: type, name: str, annotation: Any) -> tuple[str, int] | None:
    """(kind, bytes) of a field; None for a ClassVar."""
    while isinstance(annotation, TypeAliasType):
        annotation = annotation.__value__
    if annotation is ClassVar or get_origin(annotation) is ClassVar:
        return None
    extras: tuple[object, ...] = ()
    if get_origin(annotation) is Annotated:
        extras = annotation.__metadata__
        annotation = annotation.__origin__
        while isinstance(annotation, TypeAliasType):
            annotation = annotation.__value__
    for extra in extras:
        if isinstance(extra, _Kind) and _OF_NUMBERS[extra.name[0]] is annotation:
            return extra.name, 0
        if isinstance(extra, _Size) and annotation in _SIZED:
            return _SIZED[annotation], extra.bytes
        if isinstance(extra, (_Kind, _Size)):
            raise TypeError(f"{cls.__name__}.{name}: {extra} does not go with {annotation}")
    if annotation in _SIZED:
        raise TypeError(
            f"{cls.__name__}.{name} needs a size: Annotated[{annotation.__name__}, "
            "pmalloc.size(32)] has 32 bytes"
        )
    return _PLAIN.get(annotation, "ref"), 0


def _fields_of(cls: type) -> dict[str, _core.Field]:
    """All fields by name, in their order in memory."""
    fields = [f for base in cls.__mro__ for f in vars(base).values() if isinstance(f, _core.Field)]
    return {field.__name__: field for field in sorted(fields, key=lambda field: field.offset)}


def _annotations(cls: type) -> dict[str, object]:
    """Of the class itself, evaluated; what is not there yet, the class itself for one, is not."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    return cls.__annotations__


def _lay_out(cls: _core.RecordClass, frame: FrameType) -> None:
    inherited: dict[str, _core.Field] = {}
    for base in reversed(cls.__mro__[1:]):
        inherited |= _fields_of(base)
    fields: list[tuple[str, str, int, object]] = []
    for name, annotation in _annotations(cls).items():
        found = _kind_of(cls, name, _evaluated(cls, annotation, frame))
        if found is None:
            continue
        if name in inherited:
            raise TypeError(
                f"{cls.__name__}.{name} is a field of {inherited[name].__objclass__.__name__} "
                "already; without the annotation it is another default"
            )
        if name.startswith("__") or any(name in vars(base) for base in cls.__mro__[1:]):
            raise TypeError(f"{cls.__name__}.{name} cannot be a field: every Record has that name")
        fields.append((name, *found, vars(cls).get(name, ...)))
    changes: dict[str, object] = {}
    for name in inherited.keys() & vars(cls).keys():
        changes[name] = vars(cls)[name]
        delattr(cls, name)
    _core.record_finish(cls, tuple(fields), changes)


class _RecordClass(_core.RecordClass):
    """Makes fields of the annotations in a class statement."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **keywords: Any
    ) -> _RecordClass:
        if namespace.get("__slots__"):
            raise TypeError(f"{name} has __slots__: the fields of a Record are its annotations")
        made = super().__new__(cls, name, bases, {**namespace, "__slots__": ()}, **keywords)
        _lay_out(made, sys._getframe(1))
        return made


def _restore(cls: type[Record], fields: dict[str, object]) -> Record:
    """What a pickled Record becomes."""
    record = cls.__new__(cls)
    for name, value in fields.items():
        setattr(record, name, value)
    return record


class Record(_core.Record, metaclass=_RecordClass):
    """Base of classes whose live instances lie in a pool, and change by `rare_write`.

    ::

        class Switches(pmalloc.Record):
            enabled: bool = True
            limit: pmalloc.u32 = 100
            name: Annotated[str, pmalloc.size(32)]
            policy: FrozenDict[str, str] | None

        pool = pmalloc.Pool("switches", mode="wr")
        switches = pool.new(Switches, limit=250)
        pool.protect()

        switches.limit                                # read as any attribute
        with pmalloc.rare_write(switches) as staged:  # changed here, and nowhere else
            staged.limit = 500

    The annotations of the class are its fields, laid out in their order, each at a multiple of its
    width, those of a base class first. What has no default is False, 0, "" or zero bytes, or None
    at first. A derived class gives an inherited field another default by naming it without an
    annotation; a ``ClassVar`` is no field. Methods and properties are as in any class.

    ==========================================  ====================================================
    annotation                                  field
    ==========================================  ====================================================
    ``bool``                                    1 byte
    ``int``                                     64 bits, signed
    ``i8`` ``i16`` ``i32`` ``i64``              so many bits, signed
    ``u8`` ``u16`` ``u32`` ``u64``              so many bits, unsigned
    ``float``, ``f64``; ``f32``                 64 bits; 32
    ``Annotated[str, pmalloc.size(n)]``         up to n bytes of UTF-8, no zero in it
    ``Annotated[bytes, pmalloc.size(n)]``       n bytes, neither more nor less
    anything else                               a reference to a frozen object, another Record of
                                                a pool, None, or what else is immortal
    ==========================================  ====================================================

    ``Switches(limit=250)`` is an ordinary object: it is assigned to as one likes, and goes away.
    That of `Pool.new` is immortal, and lies in the pool; while the pool is open it is assigned to,
    too, and after that `ProtectedError` says what to do. C code finds a field at
    ``id(switches) + Switches.limit.offset``.

    Records have no `__dict__` and no weak references, compare and hash by identity, and their
    classes cannot be changed. `copy.copy`, `copy.deepcopy`, `thaw` and pickle make ordinary
    instances of them, `copy.replace` too; references stay references to the same frozen objects,
    which pickle refuses. One class's fields can't be those of two base classes.

    Raises:
        TypeError: a class with an annotation, a base or a default that is none for a field; a field
            that is not there, or a value of a wrong type, a reference to what is not frozen; or a
            field is to be deleted.
        OverflowError: a number out of the field's range.
        ValueError: text or bytes of a length that the field does not hold.
        ProtectedError: assignment, while the pool is protected.

    Idea: ctypes.Structure (Thomas Heller), with `const`.
    """

    def __repr__(self) -> str:
        now = self.snapshot()
        values = (f"{name}={getattr(now, name)!r}" for name in _fields_of(type(self)))
        return f"{type(self).__name__}({', '.join(values)})"

    def __copy__(self) -> Any:
        return self.snapshot()

    def __deepcopy__(self, memo: object) -> Any:
        return self.snapshot()

    def __replace__(self, /, **changes: object) -> Any:
        copy = self.snapshot()
        _core.Record.__init__(copy, **changes)
        return copy

    def __reduce__(self) -> tuple[object, ...]:
        now = self.snapshot()
        fields = {name: getattr(now, name) for name in _fields_of(type(self))}
        for name, value in fields.items():
            if _core.is_frozen(value):
                raise TypeError(
                    f"cannot pickle {type(self).__name__}.{name}: it refers to a frozen "
                    f"{type(value).__name__}, which would come back as a plain one; pickle that by "
                    "itself"
                )
        return _restore, (type(self), fields)

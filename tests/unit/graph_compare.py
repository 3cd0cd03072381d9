"""Compares what went into a pool with what came out, walking over both graphs at once.

The walk knows types, bits, order and which parts are one object; `==` knows too little of that and
does not end on cycles.
"""

import gc
import struct
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import graph_kinds as k

import pmalloc
from pmalloc import FrozenDict, FrozenList, FrozenSet

SETS = (set, frozenset)
CONTAINERS = (list, dict, tuple, *SETS)
FROZEN = {
    dict: FrozenDict,
    list: FrozenList,
    set: FrozenSet,
    OrderedDict: FrozenDict,
    defaultdict: FrozenDict,
    bytearray: bytes,
}
THAWED = {OrderedDict: dict, defaultdict: dict, bytearray: bytes}


def form(value: Any) -> str:
    """Of a scalar or a key: the same text, the same type and bits."""
    kind = value.__class__.__name__
    if isinstance(value, float):
        return f"{kind} {struct.pack('<d', value).hex()}"
    if isinstance(value, complex):
        return f"{kind} {struct.pack('<2d', value.real, value.imag).hex()}"
    if isinstance(value, tuple):
        return f"{kind} ({', '.join(map(form, value))})"
    if isinstance(value, frozenset):
        return f"{kind} ({', '.join(sorted(map(form, value)))})"
    if isinstance(value, bytearray):
        return form(bytes(value))
    if k.is_instance(value):
        return f"{kind} {form(value.label)}"
    return f"{kind} {value!r}"


def is_nan(value: Any) -> bool:
    return isinstance(value, (float, complex, Decimal)) and (
        not value.is_finite() and value.is_nan() if isinstance(value, Decimal) else value != value
    )


def by_address(key: Any) -> bool:
    """Such a key is found by identity alone, and where it stands in a set hangs on its address."""
    return (
        is_nan(key)
        or key.__class__ in k.HASHED_BY_ADDRESS
        or (isinstance(key, (tuple, frozenset)) and any(map(by_address, key)))
    )


def is_container(value: Any) -> bool:
    return (
        (isinstance(value, CONTAINERS) and not (type(value) is tuple and not value))
        or k.is_instance(value)
        or k.is_mapping(value)
    )


def same(
    source: Any, other: Any, kinds: dict[type, type], shared: Callable[[Any], bool], order: bool
) -> list[tuple[Any, Any]]:
    """Asserts that other is source again; gives the pairs of containers.

    Args:
        kinds: what a type has become, where it has changed.
        shared: whether such a part, one object in source, is one object in other.
        order: whether other is frozen, and sets therefore in the same order.
    """
    there: dict[int, Any] = {}
    back: dict[int, Any] = {}
    pairs: dict[tuple[int, int], tuple[Any, Any]] = {}
    todo = [(source, other)]
    while todo:
        a, b = todo.pop()
        assert b.__class__ is kinds.get(type(a), type(a))
        if k.is_external(a):
            assert a is b
            continue
        if order:
            assert issubclass(type(b), kinds.get(type(a), type(a)))
            assert pmalloc.is_protected(b) or (a is b and sys.getrefcount(a) >= 2**29)
            assert a is b or not gc.is_tracked(b)
        else:
            assert type(b) is kinds.get(type(a), type(a))
        container = is_container(a)
        if not container:
            assert form(a) == form(b)
        if (container or is_nan(a)) and shared(a):
            assert there.setdefault(id(a), b) is b
            assert back.setdefault(id(b), a) is a
        if not container or (id(a), id(b)) in pairs:
            continue
        pairs[id(a), id(b)] = a, b
        attributes, others = k.state(a), k.state(b)
        assert [name for name, _ in attributes] == [name for name, _ in others]
        todo += [(x, y) for (_, x), (_, y) in zip(attributes, others, strict=True)]
        if not isinstance(a, CONTAINERS) and not k.is_mapping(a):
            continue
        assert len(a) == len(b)
        if k.is_mapping(a):
            todo += zip(a, b, strict=True)
            todo += zip(a.values(), b.values(), strict=True)
        elif isinstance(a, (list, tuple)) or (order and not any(map(by_address, a))):
            todo += zip(a, b, strict=True)
        else:
            todo += zip(sorted(a, key=form), sorted(b, key=form), strict=True)
    return list(pairs.values())

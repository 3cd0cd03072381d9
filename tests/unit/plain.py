"""Tells plain objects from frozen ones."""

from types import NoneType
from typing import Any

import pmalloc

PLAIN = {NoneType, bool, int, float, complex, str, bytes, range, tuple, list, dict, set, frozenset}


def plain_types(value: Any) -> bool:
    """Whether nothing of it lies in a pool, all the way down."""
    todo, seen = [value], set()
    while todo:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        # Key strings that records share lie in no pool of ours, but are protected.
        if pmalloc.pool_of(value) is not None or pmalloc.is_protected(value):
            return False
        if type(value) not in PLAIN:
            return False
        if isinstance(value, dict):
            todo += [*value, *value.values()]
        elif isinstance(value, (tuple, list, set, frozenset)):
            todo += value
        elif isinstance(value, range):
            todo += [value.start, value.stop, value.step]
    return True

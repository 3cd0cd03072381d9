"""Who points into a pool: the findings of a search, with the owners that can be named."""

from __future__ import annotations

import bisect
import gc
import sys
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from ._pools import Pool

_HEADER = 16  # of the garbage collector, in front of an object


class Reference(NamedTuple):
    """A word that leads into a pool.

    Attributes:
        address: where the word lies.
        mapping: what that is, in the words of /proc/self/maps: "[heap]", "[stack]", a file; ""
            for anonymous memory, where most Python objects are.
        target: what it leads to: the type of a frozen object, or "allocation".
        target_address: where that begins.
        offset: how far into it the word leads, in bytes.
        owner: the object that holds it, as far as the garbage collector knows one: its type, or
            "module NAME"; else None.
    """

    address: int
    mapping: str
    target: str
    target_address: int
    offset: int
    owner: str | None


def _describe(obj: object) -> str:
    if type(obj) is dict:
        name: object = cast("dict[object, object]", obj).get("__name__")
        if isinstance(name, str) and getattr(sys.modules.get(name), "__dict__", None) is obj:
            return f"module {name}"
        return "dict"
    return type(obj).__name__


def find(pool: Pool, limit: int) -> list[Reference]:
    """See Pool.references."""
    _, found = pool._references(limit)
    objects = sorted(gc.get_objects(), key=id)
    places = [id(obj) for obj in objects]
    targets = {start for _, _, _, start, _ in found}
    # Lists, dicts and sets keep their items elsewhere: those are known by whom they refer to.
    holders: dict[int, str] = {}
    for obj in objects:
        if type(obj) in (list, dict, set) and obj is not objects and obj is not found:
            for referent in gc.get_referents(obj):
                if id(referent) in targets:
                    holders.setdefault(id(referent), _describe(cast("object", obj)))
    findings: list[Reference] = []
    for address, mapping, target, start, offset in found:
        n = bisect.bisect_right(places, address + _HEADER) - 1
        owner: str | None = None
        for at in (n, n - 1):
            if at >= 0 and places[at] - _HEADER <= address < places[at] + object.__sizeof__(
                objects[at]
            ):
                owner = _describe(objects[at])
                break
        if owner is None and offset == 0 and mapping != "[stack]":
            owner = holders.get(start)
        findings.append(Reference(address, mapping, target, start, offset, owner))
    return findings

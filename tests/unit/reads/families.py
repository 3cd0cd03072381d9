"""Class families: what is read of each, plain and frozen, and a list of reads.

A family's data is a namespace with at least `one`, `equal` (another object that is equal to it, or
has the same attributes) and `other`. A read is a function of that namespace. It must give the same
answer for both; what it copies it changes, for the original must not notice.
"""

import copy
import gc
import inspect
import json
import operator
import pickle
import pprint
import sys
import types
from collections.abc import Callable
from typing import Any

import pmalloc

ROUNDS = 20_000
ROUNDS_OF_HEAVY_ONES = 10_500

type Read = Callable[[Any], Any]
FAMILIES: dict[str, "Family"] = {}


class Family:
    def __init__(self, name: str, make: Callable[[], dict[str, Any]]):
        self.name = name
        self.make = make
        self.frozen = types.SimpleNamespace(**pmalloc.freeze(make(), name=f"reads of {name}"))
        self.all: dict[str, Read] = {}
        self.rounds: dict[str, int] = {}
        assert name not in FAMILIES
        FAMILIES[name] = self

    def linked(self) -> None:
        """Another family with the same reads. Its classes were registered since."""
        other = Family(f"{self.name}, linked", self.make)
        other.all, other.rounds = self.all, self.rounds

    def plain(self) -> types.SimpleNamespace:
        """New at each call: what caches something in itself does it in front of nobody else."""
        return types.SimpleNamespace(**self.make())

    def reads(self, **reads: Read) -> None:
        for name, read in reads.items():
            assert name not in self.all, name
            self.all[name] = read
            self.rounds[name] = ROUNDS

    def heavy(self, **reads: Read) -> None:
        """Such as take ten microseconds and more."""
        self.reads(**reads)
        self.rounds |= dict.fromkeys(reads, ROUNDS_OF_HEAVY_ONES)

    def read(self, function: Read) -> Read:
        self.reads(**{function.__name__: function})
        return function


def instances(family: Family, cls: type, state: Read, attribute: str, oldest=0) -> None:
    """What can be read of instances of any class; `state` is an instance's as plain data."""

    def changed(copied: Any) -> Any:
        """The copy, which must be an ordinary instance."""
        assert type(copied) is cls
        assert not pmalloc.is_protected(copied)
        return state(copied)

    family.reads(
        type_names=lambda d: (
            type(d.one).__name__,
            type(d.one).__qualname__,
            type(d.one).__module__,
        ),
        type_base=lambda d: issubclass(type(d.one), cls),
        class_attribute=lambda d: (d.one.__class__, d.one.__class__ is cls),
        class_name=lambda d: d.one.__class__.__name__,
        isinstance_of=lambda d: (isinstance(d.one, cls), isinstance(d.one, (int, cls))),
        getattr_by_name=lambda d: getattr(d.one, attribute),
        getattr_default=lambda d: getattr(d.one, "no_such_attribute", "default"),
        hasattr_both=lambda d: (hasattr(d.one, attribute), hasattr(d.one, "no_such_attribute")),
        attrgetter=lambda d: operator.attrgetter(attribute)(d.other),
        identity=lambda d: (d.one is d.one, d.one is d.other, id(d.one) == id(d.one)),
        truth=lambda d: (bool(d.one), not d.other, d.one and 1),
        not_tracked=lambda d: (sys.getrefcount(d.one) > 1, callable(d.one), gc.is_tracked(5)),
        documentation=lambda d: d.one.__doc__,
        equal_to_itself=lambda d: d.one == d.one,
        unequal=lambda d: (d.one == d.other, d.one != d.other, d.one == 5, d.one is None),
        in_list=lambda d: (d.one in [1, d.one], [d.other, d.one].index(d.one)),
        sort_by_attribute=lambda d: [
            getattr(o, attribute)
            for o in sorted([d.one, d.other], key=lambda o: getattr(o, attribute))
        ],
        static_look_up=lambda d: inspect.getattr_static(type(d.one), attribute, None) is not None,
    )
    family.heavy(
        dir_names=lambda d: [n for n in dir(d.one) if not n.startswith("__")],
        copied=lambda d: changed(copy.copy(d.one)),
        deeply_copied=lambda d: changed(copy.deepcopy(d.one)),
        pickled_oldest=lambda d: changed(pickle.loads(pickle.dumps(d.one, oldest))),
        pickled_4=lambda d: changed(pickle.loads(pickle.dumps(d.one, 4))),
        pickled=lambda d: [changed(o) for o in pickle.loads(pickle.dumps([d.one, d.other]))],
        thawed=lambda d: (
            changed(pmalloc.thaw(d.one)) if pmalloc.is_protected(d.one) else state(d.one)
        ),
        json_by_default=lambda d: json.dumps([d.one], default=lambda o: repr(state(o))),
        pretty=lambda d: pprint.pformat(state(d.one)),
    )

"""The access vector cache: who may do what to which, answered in a fraction of a microsecond.

The policy is a graph in a `pmalloc.Cell`, the booleans are a `pmalloc.Record`: what an attacker
would change to be allowed more is read-only memory. The cache is ordinary memory, for it is written
all the time. It is small, made anew from nothing with each policy and each change of a boolean,
and off with `size=0`.

        cell ---> policy 3            Cache(policy 2, ...)   dropped; who still computes an
                    ^                                        answer of policy 2 puts it there
                    '---------------- Cache(policy 3, truth of its conditions, answers)

No answer of an old policy is given under a new one, because answers lie in a cache that belongs to
one policy, and a question is put to a cache only if its policy is the cell's at that moment.
The kernel does the same with a sequence number.
"""

from __future__ import annotations

import threading
import types
from dataclasses import dataclass, field

import pmalloc

from .policy import Condition, Policy, Vector, evaluate


def new_booleans(pool: pmalloc.Pool, policy: Policy) -> pmalloc.Record:
    """A Record in `pool` with one bool for each boolean of the policy, set to its default."""
    fields = dict.fromkeys(policy.booleans, bool)
    cls = types.new_class(
        "Booleans", (pmalloc.Record,), exec_body=lambda body: body.update(__annotations__=fields)
    )
    record: pmalloc.Record = pool.new(cls, **policy.booleans)
    return record


@dataclass(frozen=True, slots=True)
class Cache:
    """Answers of one policy under one setting of the booleans."""

    policy: Policy
    truth: dict[Condition, bool]
    answers: dict[tuple[str, str, str], Vector] = field(default_factory=dict)


class AVC:
    """Answers for the policy that is in `cell`, under the booleans in `booleans`.

    Args:
        size: how many answers are kept; when there are more, they are all dropped.
    """

    def __init__(
        self, cell: pmalloc.Cell[Policy], booleans: pmalloc.Record, *, size: int = 4096
    ) -> None:
        self.cell = cell
        self.booleans = booleans
        self.size = size
        self._lock = threading.Lock()
        self._cache = self.flush()
        # The check in `allowed` is enough to be right. This lets go of the old policy at once, so
        # that it can be retired.
        cell.on_publish(lambda *_: self.flush(only_if_old=True))

    def allowed(self, source: str, target: str, tclass: str, permission: str) -> bool:
        """Whether a process of type `source` has the permission on an object of type `target`.

        It is the answer of the policy that was in the cell at one moment of the call. KeyError:
        that policy has no such type.
        """
        cache = self._cache
        if cache.policy is not self.cell.get():
            cache = self.flush(only_if_old=True)
        place = source, target, tclass
        vector = cache.answers.get(place)
        if vector is None:
            vector = cache.policy.vector(cache.truth, source, target, tclass)
            if len(cache.answers) >= self.size:
                cache.answers.clear()
            if self.size:
                cache.answers[place] = vector
        return permission in vector

    def set_booleans(self, **values: bool) -> None:
        """Changes booleans by one rare write: all, or none.

        When it returns, nobody is given an answer of the former ones.
        """
        with pmalloc.rare_write(self.booleans) as staged:
            for name, value in values.items():
                setattr(staged, name, value)
        self.flush()

    def flush(self, *, only_if_old: bool = False) -> Cache:
        """An empty cache for what the cell and the booleans hold now."""
        # Under a lock, so that a flush that looked earlier does not end later. Of the threads that
        # meet a new policy at once, the first makes the cache.
        with self._lock:
            policy = self.cell.get()
            if only_if_old and self._cache.policy is policy:
                return self._cache
            now = self.booleans.snapshot()
            # A boolean that this policy brings has its default: a record gets no new fields.
            values = {name: getattr(now, name, value) for name, value in policy.booleans.items()}
            truth = {each: evaluate(each, values) for each in policy.conditions}
            self._cache = Cache(policy, truth)
            return self._cache

"""Whatever only reads frozen objects leaves their pages alone, however hot it runs.

Every group is one function, one kind of reading. It runs on ordinary data once, for the answer,
then 20,000 times on frozen data in protected pools, in a forked child: the interpreter
specialises its instructions on the way, and a store by any of them would kill the child. What
copies hand out (dict.copy(), set operators, list slices) is changed in the same rounds, for a copy
that shared anything writable with the original would show there. The groups are in reads/.
"""

import gc
import random
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from child import in_child
from reads import (  # noqa: F401 (they register groups)
    binary,
    copying,
    dicts,
    lists,
    newer,
    sets,
    text,
    tools,
)
from reads.data import FROZEN, PLAIN, READS, ROUNDS

import pmalloc


@pytest.mark.parametrize("group", READS, ids=lambda f: f.__name__)
def test_read(group: Callable[[Any], Any]):
    expected = group(PLAIN)

    def work() -> None:
        result = None
        for _ in range(ROUNDS):
            result = group(FROZEN)
        assert result == expected

    in_child(work)


def test_there_are_enough_groups():
    assert len({f.__name__ for f in READS}) == len(READS) >= 95


def test_all_data_is_protected():
    assert all(
        pmalloc.is_protected(value) or value in (b"", "", ()) for value in vars(FROZEN).values()
    )


# ---- what is not equal to the plain answer ----------------------------------------------------


def test_weak_references_are_refused():
    def work() -> None:
        for value in (FROZEN.config, FROZEN.words, FROZEN.tags):
            for _ in range(ROUNDS):
                try:
                    weakref.ref(value)
                except TypeError:
                    continue
                raise AssertionError("a weak reference was made")
        with pytest.raises(
            TypeError, match=r"cannot create weak reference to '.*FrozenSet' object"
        ):
            weakref.ref(FROZEN.tags)

    in_child(work)


def test_callbacks_of_weak_references_are_never_called():
    def work() -> None:
        calls: list[object] = []
        kept = [weakref.ref(FROZEN.members, calls.append) for _ in range(ROUNDS)]
        assert weakref.getweakrefcount(FROZEN.members) > ROUNDS
        del kept
        gc.collect()
        assert calls == []

    in_child(work)


def test_frozen_set_has_no_hash():
    """A set cannot be hashed, so what it froze to cannot; frozenset's own hash is ready in it."""

    def work() -> None:
        for _ in range(ROUNDS):
            try:
                hash(FROZEN.tags)
            except TypeError:
                assert frozenset.__hash__(FROZEN.tags) == hash(frozenset(FROZEN.tags))
                continue
            raise AssertionError("it has a hash")

    in_child(work)


def test_containers_are_not_tracked():
    def work() -> None:
        for _ in range(ROUNDS):
            for value in (FROZEN.config, FROZEN.words, FROZEN.tags, FROZEN.row, FROZEN.members):
                assert not gc.is_tracked(value)
        gc.collect()
        gc.freeze()
        gc.unfreeze()
        assert not any(pmalloc.is_protected(o) for o in gc.get_objects())

    in_child(work)


def test_threads_read_at_once():
    def work() -> None:
        failures: list[BaseException] = []
        start = threading.Barrier(4)

        def reader(seed: int) -> None:
            try:
                start.wait()
                generator = random.Random(seed)
                for _ in range(ROUNDS // 4):
                    key = f"key-{generator.randrange(40)}"
                    assert FROZEN.wide[key] == int(key[4:]) * 1000
                    assert FROZEN.records[2]["tags"][1] == "t2"
                    assert sum(FROZEN.small) == 227
                    assert FROZEN.tags | {1} == {"red", "green", "blue", 1}
                    weakref.ref(FROZEN.members, lambda _: None)
                    sys.intern(FROZEN.identifier)
                    hash(FROZEN.many)
            except BaseException as error:
                failures.append(error)

        sys.setswitchinterval(1e-5)
        threads = [threading.Thread(target=reader, args=[seed]) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

    in_child(work)

"""A pool's life, step by step: what each call does, what it refuses, and with which words."""

import ctypes
import gc
import inspect
import re
import struct
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tiers import needs_no_redzones

import pmalloc
from pmalloc import DestroyedError, PmallocError, Pool, ProtectedError

NO_WAY_BACK = "it is protected, and there is no way back; use a new pool"


def fill(allocation: pmalloc.Allocation, content: bytes) -> None:
    with memoryview(allocation) as view:
        view[:] = content


def content(allocation: pmalloc.Allocation) -> bytes:
    with memoryview(allocation) as view:
        return bytes(view)


def message(call: Callable[[], object], error: type[BaseException]) -> str:
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    return str(caught.value)


# ---- create --------------------------------------------------------------------------------------


def test_a_new_pool_is_empty(name: str):
    pool = Pool(name)
    stats = pool.stats()
    assert stats.pop("metadata_bytes") < 1024
    assert stats.pop("shared_key_bytes") >= 0
    assert stats == {
        "name": name,
        "state": "open",
        "backing": "private",
        "chunks": 0,
        "reserved_bytes": 0,
        "used_bytes": 0,
        "allocations": 0,
        "objects": 0,
        "views": 0,
        "on_violation": "oops",
        "policy": "oops",
        "tainted": False,
        "violations": 0,
        "violations_stepped": 0,
        "violations_dropped": 0,
        "mode": "ro",
        "rare_write": "none",
        "rare_writes": 0,
        "rare_bytes": 0,
    }
    assert pool.name == name
    assert pool.root is None
    assert pmalloc.pools()[-1] is pool


def test_repr(name: str):
    pool = Pool(name)
    assert repr(pool) == f"<pmalloc.Pool '{name}': open, 0 of 0 bytes used>"
    allocation = pool.alloc(100)
    assert repr(pool) == f"<pmalloc.Pool '{name}': open, 112 of 16384 bytes used>"
    about = f"<pmalloc.Allocation of 100 bytes at {allocation.address:#x} in pool '{name}'"
    assert repr(allocation) == f"{about}>"
    pool.free(allocation)
    assert repr(allocation) == f"{about}, freed>"
    pool.protect()
    assert repr(pool).startswith(f"<pmalloc.Pool '{name}': protected, 0 of ")
    pool.destroy()
    assert repr(pool) == f"<pmalloc.Pool '{name}': destroyed, 0 of 0 bytes used>"


@pytest.mark.parametrize("text", ["x", "x" * 255, "ü" * 127, "🔒" * 63, "a b\n'c'", "/etc"])
def test_good_name(text: str):
    pool = Pool(text)
    assert pool.name == pool.stats()["name"] == text
    frozen = pool.freeze(["root"])
    assert pmalloc.root(text) is frozen
    del frozen
    pool.destroy(force=True)


@pytest.mark.parametrize(
    ("text", "length"), [("", 0), ("x" * 256, 256), ("ü" * 128, 256), ("a\0b", 3), ("\0", 1)]
)
def test_bad_name(text: str, length: int):
    before = pmalloc.pools()
    expected = f"a pool's name has 1 to 255 bytes of UTF-8 and no zero in it, not {length}"
    assert message(lambda: Pool(text), ValueError) == expected
    assert pmalloc.pools() == before


def test_names_that_are_no_text():
    for bad in (None, 1, b"bytes", ["list"]):
        message(lambda bad=bad: Pool(bad), TypeError)
    message(lambda: Pool("lone \ud800"), UnicodeEncodeError)
    message(Pool, TypeError)


def test_a_name_is_free_again_after_destroy(name: str):
    pool = Pool(name)
    taken = f"a live pool has the name {name!r} already; destroy it first, or choose another"
    before = pmalloc.pools()
    assert message(lambda: Pool(name), ValueError) == taken
    pool.protect()
    assert message(lambda: pmalloc.freeze([1], name=name), ValueError) == taken
    assert pmalloc.pools() == before
    pool.destroy()
    again = Pool(name)
    assert pmalloc.pools()[-1] is again
    assert pool not in pmalloc.pools()


@needs_no_redzones
def test_chunk_size(name: str):
    pool = Pool(name, chunk_size=1)
    pool.alloc(1)
    page = pool.stats()["reserved_bytes"]
    assert page >= 4096
    pool.alloc(page)
    assert pool.stats()["chunks"] == 2
    pool.alloc(10 * page)
    assert pool.stats()["chunks"] == 3
    assert pool.stats()["reserved_bytes"] == 12 * page


def test_bad_chunk_size(name: str):
    negative = f"chunk_size of pool '{name}' is negative: -1"
    assert message(lambda: Pool(name, chunk_size=-1), ValueError) == negative
    huge = f"cannot create pool '{name}': size or alignment no pool can honour"
    assert message(lambda: Pool(name, chunk_size=sys.maxsize), ValueError) == huge
    message(lambda: Pool(name, chunk_size=2**64), OverflowError)
    Pool(name)  # none of them took the name


def subclass_of_pool() -> type[Pool]:
    class Named(Pool):
        def __init__(self, name: str, extra: Any = None):
            super().__init__(name)
            self.extra = extra

        def __new__(cls, name: str, extra: Any = None):
            return super().__new__(cls, name)

    return Named


def test_a_pool_can_be_subclassed(name: str):
    pool = subclass_of_pool()(name, ["extra"])
    frozen = pool.freeze([2.5])
    pool.protect()
    assert pmalloc.pool_of(frozen) is pool
    assert pool.extra == ["extra"]


# ---- allocate, write, free -----------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 100, 4096, 16_384, 16_385, 1 << 20, 5 << 20])
def test_alloc(size: int, name: str):
    pool = Pool(name)
    allocation = pool.alloc(size)
    assert len(allocation) == allocation.size == size
    assert content(allocation) == bytes(size)
    assert allocation.address % 16 == 0
    assert allocation.pool is pool
    assert not allocation.freed
    fill(allocation, b"\xa5" * size)
    stats = pool.stats()
    assert stats["allocations"] == 1
    assert size <= stats["used_bytes"] < size + 17
    assert stats["used_bytes"] <= stats["reserved_bytes"]
    pool.protect()
    assert content(allocation) == b"\xa5" * size


@pytest.mark.parametrize("align", [1 << bit for bit in range(13)])
def test_align(align: int, name: str):
    pool = Pool(name)
    for size in (1, 30, 500):
        pool.alloc(1)
        allocation = pool.alloc(size, align=align)
        assert allocation.address % align == 0
        fill(allocation, b"x" * size)


@pytest.mark.parametrize("align", [-16, 3, 24, 100, 1 << 30, sys.maxsize])
def test_bad_align(align: int, name: str):
    pool = Pool(name)
    expected = f"cannot allocate from pool '{name}': size or alignment no pool can honour"
    assert message(lambda: pool.alloc(8, align=align), ValueError) == expected
    assert pool.stats()["allocations"] == 0


def test_bad_size(name: str):
    pool = Pool(name)
    expected = f"cannot allocate from pool '{name}': size or alignment no pool can honour"
    assert message(lambda: pool.alloc(-1), ValueError) == expected
    expected = f"cannot preallocate in pool '{name}': size or alignment no pool can honour"
    assert message(lambda: pool.prealloc(-1), ValueError) == expected
    for call in (pool.alloc, pool.prealloc):
        text = message(lambda call=call: call(sys.maxsize), MemoryError)
        assert "out of memory, address space or mappings (" in text
        assert text.endswith("; the pool is as it was")
        message(lambda call=call: call(2**64), OverflowError)
        message(lambda call=call: call("8"), TypeError)
        message(lambda call=call: call(8.0), TypeError)
    assert pool.stats()["chunks"] == 0


def test_allocations_do_not_overlap(name: str):
    pool = Pool(name)
    made = [pool.alloc(size, align=1 << size % 13) for size in range(1, 400)]
    for number, allocation in enumerate(made):
        fill(allocation, bytes([number % 256]) * len(allocation))
    for number, allocation in enumerate(made):
        assert content(allocation) == bytes([number % 256]) * len(allocation)


def test_freed_memory_is_used_again_and_zeroed(name: str):
    pool = Pool(name)
    kept = pool.alloc(50)
    fill(kept, b"k" * 50)
    before = pool.stats()
    for size in range(1, 3000):
        allocation = pool.alloc(size)
        assert content(allocation) == bytes(size)
        fill(allocation, b"\xff" * size)
        pool.free(allocation)
    after = pool.stats()
    assert after["chunks"] == 1
    assert {**after, "metadata_bytes": 0} == {**before, "metadata_bytes": 0}
    assert content(kept) == b"k" * 50


@needs_no_redzones
def test_prealloc_makes_room(name: str):
    pool = Pool(name)
    pool.prealloc(0)
    assert pool.stats()["chunks"] == 0
    pool.prealloc(10_000_000)
    stats = pool.stats()
    assert stats["chunks"] == 1
    assert stats["reserved_bytes"] >= 10_000_000
    assert stats["used_bytes"] == 0
    for _ in range(1000):
        pool.alloc(10_000)
    assert pool.stats()["chunks"] == 1


def test_free(name: str):
    pool = Pool(name)
    allocation = pool.alloc(8)
    pool.free(allocation)
    assert allocation.freed
    assert pool.stats()["allocations"] == pool.stats()["used_bytes"] == 0
    expected = f"cannot free from pool '{name}': the allocation was already freed"
    assert message(lambda: pool.free(allocation), ValueError) == expected
    expected = f"no view of this allocation of pool '{name}': it was freed"
    assert message(lambda: memoryview(allocation), BufferError) == expected


def test_free_of_what_is_not_there_to_free(name: str):
    pool = Pool(name)
    other = Pool(f"other than {name}")
    foreign = other.alloc(8)
    expected = f"cannot free from pool '{name}': the allocation belongs to pool 'other than {name}'"
    assert message(lambda: pool.free(foreign), ValueError) == expected
    assert not foreign.freed
    frozen = pool.freeze(["frozen"])
    for thing, kind in [
        (frozen, "pmalloc.FrozenList"),
        (foreign.address, "int"),
        (memoryview(foreign), "memoryview"),
        (None, "NoneType"),
    ]:
        expected = f"cannot free from pool '{name}': an Allocation is needed, not {kind}"
        assert message(lambda thing=thing: pool.free(thing), TypeError) == expected


def test_only_a_pool_makes_allocations():
    with pytest.raises(TypeError, match=r"^cannot create 'pmalloc\.Allocation' instances$"):
        pmalloc.Allocation()


def test_stats_of_frozen_objects(name: str):
    pool = Pool(name)
    pool.alloc(100)
    before = pool.stats()
    pool.freeze([1.5, 2.5, [3.5]])
    after = pool.stats()
    assert after["objects"] == 5
    assert after["allocations"] == before["allocations"] == 1
    assert after["used_bytes"] > before["used_bytes"]
    assert after["reserved_bytes"] >= after["used_bytes"]
    assert after["metadata_bytes"] > 0
    assert set(after) == set(pmalloc.Pool(f"{name}'").stats())


# ---- views ---------------------------------------------------------------------------------------


def test_views_are_counted(name: str):
    pool = Pool(name)
    allocation = pool.alloc(8)
    first = memoryview(allocation)
    second = memoryview(allocation)[2:4].toreadonly()
    number = ctypes.c_uint64.from_buffer(allocation)
    number.value = 7
    assert struct.unpack("Q", first) == (7,)
    # A slice and its memoryview are one buffer to the pool.
    assert pool.stats()["views"] == 3
    expected = "{} view(s) of the allocation are alive; release them first"
    text = message(lambda: pool.free(allocation), BufferError)
    assert text == f"cannot free from pool '{name}': {expected.format(3)}"
    first.release()
    second.release()
    del second, number
    gc.collect()
    assert pool.stats()["views"] == 0
    pool.free(allocation)


def test_protect_waits_for_writable_views(name: str):
    pool = Pool(name)
    views = [memoryview(pool.alloc(8)) for _ in range(2)]
    expected = (
        f"cannot protect pool '{name}': 2 writable view(s) of its allocations are alive; "
        "release them, or pass revoke=True and no longer write to them"
    )
    assert message(pool.protect, BufferError) == expected
    assert pool.state == "open"
    views[0][:] = b"12345678"
    for view in views:
        view.release()
    pool.protect()
    assert pool.state == "protected"


def test_revoke_leaves_views_to_read(name: str):
    pool = Pool(name)
    allocation = pool.alloc(5)
    view = memoryview(allocation)
    view[:] = b"hello"
    pool.protect(revoke=True)
    assert bytes(view) == content(allocation) == b"hello"
    assert pool.stats()["views"] == 1
    expected = f"cannot destroy pool '{name}': 1 view(s) of its allocations are alive; "
    assert message(pool.destroy, BufferError) == expected + "release them first"
    view.release()
    pool.destroy()


def test_views_of_a_protected_allocation_only_read(name: str):
    pool = Pool(name)
    allocation = pool.alloc(4)
    pool.protect()
    with memoryview(allocation) as view:
        assert view.readonly
        with pytest.raises(TypeError, match=r"^cannot modify read-only memory$"):
            view[0] = 1
    expected = f"no writable view of this allocation: pool '{name}' is protected"
    writable = inspect.BufferFlags.WRITABLE
    assert message(lambda: allocation.__buffer__(writable), BufferError) == expected
    for write in (
        lambda: struct.pack_into("i", allocation, 0, 1),
        lambda: ctypes.c_int.from_buffer(allocation),
    ):
        with pytest.raises((TypeError, BufferError)):
            write()
    assert pool.stats()["views"] == 0


@pytest.mark.parametrize("protected", [False, True])
@pytest.mark.parametrize("force", [False, True])
def test_destroy_waits_for_views(protected: bool, force: bool, name: str):
    pool = Pool(name)
    allocation = pool.alloc(8)
    if protected:
        pool.protect()
    view = memoryview(allocation)
    expected = f"cannot destroy pool '{name}': 1 view(s) of its allocations are alive; "
    assert message(lambda: pool.destroy(force), BufferError) == expected + "release them first"
    assert bytes(view) == bytes(8)
    view.release()
    pool.destroy(force)
    expected = f"no view of this allocation of pool '{name}': the pool was destroyed"
    assert message(lambda: memoryview(allocation), BufferError) == expected
    assert len(allocation) == 8


# ---- protect -------------------------------------------------------------------------------------


CALLS: dict[str, Callable[[Pool], object]] = {
    "allocate from": lambda pool: pool.alloc(1),
    "preallocate in": lambda pool: pool.prealloc(1),
    "freeze into": lambda pool: pool.freeze([1]),
    "protect": lambda pool: pool.protect(),
}


@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize("empty", [False, True])
def test_protected_pool_refuses(verb: str, empty: bool, name: str):
    pool = Pool(name)
    if not empty:
        pool.freeze([1, 2.5])
    pool.protect()
    before = pool.stats()
    expected = f"cannot {verb} pool '{name}': {NO_WAY_BACK}"
    assert message(lambda: CALLS[verb](pool), ProtectedError) == expected
    assert pool.stats() == before
    assert pool.state == "protected"


def test_freeze_of_what_is_frozen_is_refused_too(name: str):
    """It would copy nothing, but it would change the root."""
    pool = Pool(name)
    frozen = pool.freeze([1])
    pool.protect()
    expected = f"cannot freeze into pool '{name}': {NO_WAY_BACK}"
    assert message(lambda: pool.freeze(frozen), ProtectedError) == expected
    assert pool.root is frozen


def test_free_on_a_protected_pool_only_drops_out_of_the_accounting(name: str):
    pool = Pool(name)
    allocation, other = pool.alloc(20), pool.alloc(30)
    fill(allocation, b"still here, 20 bytes")
    pool.protect()
    pool.free(allocation)
    assert allocation.freed
    assert pool.stats()["allocations"] == 1
    assert pool.stats()["used_bytes"] == 32
    assert ctypes.string_at(allocation.address, 20) == b"still here, 20 bytes"
    expected = f"cannot free from pool '{name}': the allocation was already freed"
    assert message(lambda: pool.free(allocation), ValueError) == expected
    assert content(other) == bytes(30)


def test_an_empty_pool_can_be_protected(name: str):
    with Pool(name) as pool:
        pass
    assert pool.state == pool.stats()["state"] == "protected"
    assert pool.stats()["chunks"] == 0
    pool.destroy()


# ---- destroy -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [*CALLS, "destroy", "free from"])
@pytest.mark.parametrize("way", ["open", "protected"])
def test_destroyed_pool_refuses(verb: str, way: str, name: str):
    pool = Pool(name)
    allocation = pool.alloc(1)
    if way == "protected":
        pool.protect()
    pool.destroy()
    more = {"destroy": Pool.destroy, "free from": lambda pool: pool.free(allocation)}
    expected = f"cannot {verb} pool '{name}': it was destroyed"
    assert message(lambda: (CALLS | more)[verb](pool), DestroyedError) == expected
    stats = pool.stats()
    assert stats["state"] == pool.state == "destroyed"
    assert stats["chunks"] == stats["reserved_bytes"] == stats["allocations"] == 0
    assert pool not in pmalloc.pools()


def test_an_empty_pool_can_be_destroyed(name: str):
    pool = Pool(name)
    pool.destroy()
    for verb, call in {**CALLS, "destroy": Pool.destroy}.items():
        expected = f"cannot {verb} pool '{name}': it was destroyed"
        assert message(lambda call=call: call(pool), DestroyedError) == expected


@pytest.mark.parametrize("protected", [False, True])
def test_destroy_of_frozen_objects_takes_force(protected: bool, name: str):
    pool = Pool(name)
    frozen = pool.freeze([70_000, ["two"]])
    if protected:
        pool.protect()
    before = pool.stats()
    expected = (
        f"cannot destroy pool '{name}': 4 frozen objects live in it, and nothing counts who still "
        "uses them; a search found # words that lead to them, references() names them; if surely "
        "nobody does, pass force=True"
    )
    assert re.sub(r"found \d+", "found #", message(pool.destroy, PmallocError)) == expected
    assert pool.stats() == before
    assert pmalloc.root(name) is frozen
    assert frozen == [70_000, ["two"]]
    del frozen
    pool.destroy(force=True)
    message(lambda: pmalloc.root(name), KeyError)
    assert pool.stats()["objects"] == 0


def test_dropping_a_pool_ends_nothing(name: str):
    allocation = Pool(name).alloc(3)
    fill(allocation, b"abc")
    gc.collect()
    assert content(allocation) == b"abc"
    assert allocation.pool.name == name
    assert allocation.pool in pmalloc.pools()


# ---- with ----------------------------------------------------------------------------------------


def fail() -> None:
    raise ZeroDivisionError


def test_with_protects_on_success(name: str):
    with Pool(name) as pool:
        assert isinstance(pool, Pool)
        assert pool.state == "open"
        pool.alloc(1)
    assert pool.state == "protected"


def test_with_leaves_alone_what_was_ended_inside(name: str):
    with Pool(name) as pool:
        pool.protect()
    assert pool.state == "protected"
    with Pool(f"{name} again") as pool:
        pool.destroy()
    assert pool.state == "destroyed"
    with pytest.raises(ZeroDivisionError), pool:
        fail()
    assert pool.state == "destroyed"


def test_with_destroys_on_an_exception(name: str):
    pool = Pool(name)
    pool.alloc(100)
    with pytest.raises(ZeroDivisionError) as caught, pool:
        fail()
    assert not hasattr(caught.value, "__notes__")
    assert pool.state == "destroyed"
    assert pool not in pmalloc.pools()
    Pool(name)


def test_with_and_an_exception_that_can_reach_frozen_objects(name: str):
    """The traceback holds the frame, and that the object: destroying it would end the process."""

    def load() -> None:
        with Pool(name) as pool:
            config = pool.freeze({"key": ["a", 2.5]})
            assert config
            fail()

    with pytest.raises(ZeroDivisionError) as caught:
        load()
    [note] = caught.value.__notes__
    assert note == (
        f"pool '{name}' was left protected: 5 frozen objects live in it, and the traceback may "
        "hold some"
    )
    frame = caught.tb.tb_next.tb_frame  # type: ignore[union-attr]
    assert frame.f_locals["config"] == {"key": ["a", 2.5]}
    assert pmalloc.root(name) == {"key": ["a", 2.5]}


def test_with_and_a_view_that_is_alive(name: str):
    with pytest.raises(BufferError, match=r"^cannot protect pool "), Pool(name) as pool:
        view = memoryview(pool.alloc(8))
    assert pool.state == "open"
    view.release()

    view = memoryview(pool.alloc(8))
    with pytest.raises(ZeroDivisionError) as caught, pool:
        fail()
    [note] = caught.value.__notes__
    assert note == (
        f"pool '{name}' was left open: cannot destroy pool '{name}': 1 view(s) of its allocations "
        "are alive; release them first"
    )
    assert pool.state == "open"
    assert bytes(view) == bytes(8)

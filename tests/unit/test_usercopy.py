"""check_object_size and its three answers, and that exports of buffers ask it."""

import array
import ctypes

import pytest
from tiers import needs_no_redzones

import pmalloc
from pmalloc import Pool, check_object_size


@pytest.mark.parametrize("size", [1, 15, 16, 17, 100, 4096, 100_000])
def test_allocation(name: str, size: int):
    pool = Pool(name)
    pool.alloc(32)
    at = pool.alloc(size).address
    pool.alloc(32)
    for _ in range(2):
        assert check_object_size(at, size) == "good"
        assert check_object_size(at, 0) == "good"
        assert check_object_size(at + size - 1, 1) == "good"
        assert check_object_size(at, size + 1) == "bad"
        assert check_object_size(at + size - 1, 2) == "bad"
        assert check_object_size(at - 1, 2) == "bad"
        assert check_object_size(at, 2**62) == "bad"
        if pool.state == "open":
            pool.protect()
    pool.destroy()
    assert check_object_size(at, 1) == "bad"
    assert check_object_size(at, 0) == "bad"


def test_slack_is_not_the_allocations(name: str):
    at = Pool(name).alloc(13).address
    assert [check_object_size(at + n, 1) for n in (12, 13, 15)] == ["good", "bad", "bad"]


def test_free_space_and_guards(name: str):
    pool = Pool(name, chunk_size=4096)
    first = pool.alloc(64)
    second = pool.alloc(64)
    at = first.address
    pool.free(first)
    assert check_object_size(at, 1) == "bad"
    assert check_object_size(second.address + 64, 1) == "bad"
    assert check_object_size(at - 1, 1) == "bad"  # the guard page
    assert check_object_size(at + 4096, 1) == "bad"


@needs_no_redzones
def test_from_outside_into_a_pool(name: str):
    pool = Pool(name)
    outer = pool.alloc(16).address - 4096  # of the guard page
    inside = outer - 100
    if check_object_size(inside, 1) != "not ours":
        pytest.skip("another pool lies right before")
    assert check_object_size(inside, 100) == "not ours"
    assert check_object_size(inside, 101) == "bad"


def test_not_ours():
    data = bytearray(10**6)
    assert check_object_size(data) == "not ours"
    assert check_object_size(memoryview(data)[:100], 10**6) == "not ours"  # so much is there
    assert check_object_size(id(data), 8) == "not ours"
    assert check_object_size(0, 0) == "not ours"
    assert check_object_size(2**64 - 1, 0) == "not ours"
    assert check_object_size(2**64 - 1, 2) == "bad"  # around the end of memory


def test_buffers(name: str):
    pool = Pool(name)
    allocation = pool.alloc(100)
    assert check_object_size(allocation) == "good"
    assert check_object_size(allocation, 101) == "bad"
    with memoryview(allocation) as view, view[40:] as part:
        assert check_object_size(part) == "good"
        assert check_object_size(part, 61) == "bad"
    shared = (ctypes.c_char * 100).from_buffer(allocation)
    assert check_object_size(shared) == "good"
    del shared


def test_frozen_objects(name: str):
    frozen = pmalloc.freeze(
        {"text": "frozen text, some of it", "data": b"d" * 1000, "list": [1, 2]}, name=name
    )
    for value in (frozen, frozen["list"], frozen["text"], frozen["data"]):
        assert check_object_size(id(value), 16) == "good"
        assert check_object_size(id(value), 10**6) == "bad"
    assert check_object_size(frozen["data"]) == "good"
    assert check_object_size(frozen["data"], 1001) == "good"  # the zero behind it
    assert check_object_size(frozen["data"], 1064) == "bad"
    assert check_object_size(memoryview(frozen["data"])[990:]) == "good"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((), TypeError, "takes 1 or 2"),
        ((1, 2, 3), TypeError, "takes 1 or 2"),
        ((1,), TypeError, "of an address needs a size"),
        ((1.5, 2), TypeError, "needs an address (int) or a buffer, not float"),
        (({}, 2), TypeError, "needs an address (int) or a buffer, not dict"),
        ((1, -1), ValueError, "negative size: -1"),
        ((2**64, 1), OverflowError, ""),
        ((1, 2**64), OverflowError, ""),
        ((array.array("i", [1]), "x"), TypeError, ""),
    ],
)
def test_misuse(arguments: tuple[object, ...], error: type[Exception], text: str):
    with pytest.raises(error) as caught:
        pmalloc._core.check_object_size(*arguments)
    assert text in str(caught.value)


def test_export_of_forged_bounds_is_refused(name: str):
    """The size in an Allocation object is ordinary memory: an export does not believe it."""
    pool = Pool(name)
    allocation = pool.alloc(64)
    # ob_base, pool, address, size
    size = ctypes.c_ssize_t.from_address(id(allocation) + object.__basicsize__ + 16)
    assert size.value == 64
    size.value = 65
    with pytest.raises(pmalloc.CorruptionError, match="not within one of its allocations"):
        memoryview(allocation)
    size.value = 64
    with memoryview(allocation) as view:
        assert len(view) == 64
    assert pool.stats()["views"] == 0

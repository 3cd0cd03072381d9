"""Forms of allocations, copies and arrays, and the global pool."""

import threading

import pytest
from child import in_child
from tiers import content

import pmalloc
from pmalloc import DestroyedError, Pool, ProtectedError

# ---- copies and arrays ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [b"", b"bytes", bytearray(b"x" * 100_000), memoryview(b"0123456789")[::3], b"\0" * 17],
    ids=["empty", "bytes", "bytearray", "strided", "zeroes"],
)
def test_copy(source, name):
    pool = Pool(name)
    allocation = pool.copy(source)
    assert len(allocation) == len(bytes(source))
    assert content(allocation) == bytes(source)
    with memoryview(allocation) as view:
        view[:1] = b"y"[: len(view)]  # a copy, and ours to change until protect()
    pool.protect()
    with pytest.raises(ProtectedError, match=f"^cannot copy into pool '{name}': it is protected"):
        pool.copy(source)


def test_copy_needs_bytes(name):
    pool = Pool(name)
    for bad in ("text", 5, None, [1]):
        with pytest.raises(TypeError):
            pool.copy(bad)
    allocation = pool.copy(b"abc")
    assert content(pool.copy(allocation)) == b"abc"
    assert pool.stats()["allocations"] == 2
    assert pool.stats()["views"] == 0


def test_array(name):
    pool = Pool(name)
    array = pool.array(100, 8)
    assert len(array) == 800
    assert content(array) == bytes(800)
    with memoryview(array).cast("d") as view:
        view[99] = 2.5
    assert len(pool.array(0, 8)) == 0
    for n, itemsize in ((-1, 8), (1, 0), (1, -8), (0, 0)):
        with pytest.raises(ValueError) as caught:
            pool.array(n, itemsize)
        assert str(caught.value) == (
            f"cannot allocate from pool '{name}': an array has 0 or more items of 1 byte or more, "
            f"not {n} of {itemsize}"
        )
    for n, itemsize in ((2**62, 8), (2**32, 2**32), (2**63 - 1, 2)):
        with pytest.raises(MemoryError, match=f"^cannot allocate from pool '{name}': out of mem"):
            pool.array(n, itemsize)
    with pytest.raises(OverflowError):
        pool.array(2**63, 1)
    assert pool.stats()["allocations"] == 2


# ---- the global pool -----------------------------------------------------------------------------


def test_the_global_pool_is_the_librarys():
    """What pmalloc_global_pool() gives C code is what Python has: no second one."""

    def work() -> None:
        pool = pmalloc.global_pool()
        again = Pool.__new__(Pool, "global", _global=True)
        assert again._id == pool._id
        first = pool._id
        pool.destroy()
        del again
        assert pmalloc.global_pool()._id != first
        assert pool.state == "destroyed"

    in_child(work)


def test_global_pool():
    def work() -> None:
        pool = pmalloc.global_pool()
        assert pmalloc.global_pool() is pool
        assert pool.name == "global"
        assert pool in pmalloc.pools()
        allocation = pool.copy(b"mine")
        pool.protect()
        assert pmalloc.global_pool() is pool
        with pytest.raises(ProtectedError, match="use a new pool"):
            pmalloc.global_pool().alloc(1)
        assert content(allocation) == b"mine"
        pool.destroy()
        with pytest.raises(DestroyedError):
            pool.alloc(1)
        again = pmalloc.global_pool()
        assert again is not pool
        again.alloc(1)

    in_child(work)


def test_the_global_pool_is_one_for_all_threads():
    def work() -> None:
        got: list[Pool] = []
        start = threading.Barrier(8)

        def take() -> None:
            start.wait()
            got.append(pmalloc.global_pool())

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 8
        assert all(pool is got[0] for pool in got)

    in_child(work)


def test_a_global_pool_of_somebody_elses():
    def work() -> None:
        taken = Pool("global")
        with pytest.raises(ValueError, match="a live pool has the name 'global' already"):
            pmalloc.global_pool()
        taken.destroy()
        pmalloc.global_pool().alloc(1)

    in_child(work)

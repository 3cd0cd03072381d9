"""Pools at the limits: very many, one after the other, without memory, from many threads."""

import ctypes
import gc
import itertools
import mmap
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from child import in_child

import pmalloc

MIB = 1 << 20
MAX_MAPPINGS = int(Path("/proc/sys/vm/max_map_count").read_text())


def statm(column: int) -> int:
    """In bytes: 0 address space, 1 resident."""
    return int(Path("/proc/self/statm").read_text().split()[column]) * mmap.PAGESIZE


def count_mappings() -> int:
    return Path("/proc/self/maps").read_text().count("\n")


# ---- many ----------------------------------------------------------------------------------------


def test_ten_thousand_empty_pools():
    def work() -> None:
        names = [f"empty {i}" for i in range(10_000)]
        before = pmalloc.pools()
        gc.collect()
        resident, space = statm(1), statm(0)
        pools = [pmalloc.Pool(name) for name in names]
        assert statm(1) - resident < 10_000 * 2048
        assert statm(0) - space < 10_000 * 2048
        assert pmalloc.pools() == before + pools
        # They are real ones, and a fork with all of them is possible.
        frozen = pools[7777].freeze(["in the middle"])
        pools[0].alloc(100)
        for pool in pools:
            pool.protect()
        assert pmalloc.root("empty 7777") is frozen
        in_child(lambda: pmalloc.root("empty 7777")[0].index("middle"))

    in_child(work)


def test_a_thousand_pools_one_after_the_other():
    """Made, filled, protected and destroyed. Their address ranges stay reserved; nothing else does
    but a tombstone each, which names the pool should somebody still use it."""
    sizes = [1, 100, 5000, 70_000, 300_000, MIB, 3 * MIB, 6 * MIB]
    tombstone = 4096

    def one(number: int, size: int) -> None:
        with pmalloc.Pool("one of many") as pool:
            allocation = pool.alloc(size)
            with memoryview(allocation) as view:
                view[:] = bytes([number % 256]) * size
            frozen = pool.freeze([{"number": number, "text": "x" * (size // 10)}, float(number)])
        with memoryview(allocation) as view:
            assert view[0] == view[-1] == number % 256
        assert frozen[0]["number"] == frozen[1] == number
        del frozen
        pool.destroy(force=True)

    def work() -> None:
        pools = pmalloc.pools()
        rounds = zip(range(1000), itertools.cycle(sizes))
        for number, size in itertools.islice(rounds, 200):
            one(number, size)
        before, mappings = statm(1), count_mappings()
        for number, size in rounds:
            one(number, size)
        assert number == 999
        assert statm(1) - before < 800 * tombstone
        assert count_mappings() - mappings < 400  # ranges side by side are one
        assert pmalloc.pools() == pools

    in_child(work)


# ---- out of memory -------------------------------------------------------------------------------


@contextmanager
def room_for(nbytes: int) -> Iterator[None]:
    """No more than that of address space."""
    gc.collect()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (statm(0) + nbytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


@contextmanager
def no_more_mappings() -> Iterator[None]:
    """One mapping cut into as many as the kernel allows, but for a few that malloc may need."""
    libc = ctypes.CDLL(None, use_errno=True)
    area = mmap.mmap(-1, 2 * MAX_MAPPINGS * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON)
    first = ctypes.addressof(ctypes.c_char.from_buffer(area))
    for page in range(1, 2 * MAX_MAPPINGS, 2):
        address = ctypes.c_void_p(first + page * mmap.PAGESIZE)
        if libc.mprotect(address, ctypes.c_size_t(mmap.PAGESIZE), mmap.PROT_READ) != 0:
            break
    else:
        raise AssertionError("the kernel allows more mappings than it says")
    yield
    libc.mprotect(ctypes.c_void_p(first), ctypes.c_size_t(len(area)), 3)


def settled(stats: dict[str, object]) -> dict[str, object]:
    """Without what may grow in vain: keys of the whole process, and an empty table for chunks."""
    return {k: v for k, v in stats.items() if k not in ("shared_key_bytes", "metadata_bytes")}


CALLS: dict[str, tuple[str, Callable[[pmalloc.Pool, list[float]], object]]] = {
    "alloc": ("allocate from", lambda pool, _: pool.alloc(256 * MIB)),
    "prealloc": ("preallocate in", lambda pool, _: pool.prealloc(256 * MIB)),
    "freeze": ("", lambda pool, source: pool.freeze(source)),
    "freeze into a new pool": ("", lambda _, source: pmalloc.freeze(source, name="new")),
    "thaw": ("", lambda pool, _: pmalloc.thaw(pool.root)),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("used", [False, True])
def test_out_of_address_space(call: str, used: bool, name: str):
    verb, act = CALLS[call]

    def work() -> None:
        source = [i + 0.5 for i in range(2 * MIB)]
        pool = pmalloc.Pool(name)
        if used:
            kept = pool.alloc(100)
        if call == "thaw":
            pool.freeze(source)
        before, pools, root = pool.stats(), pmalloc.pools(), pool.root
        with room_for(12 * MIB):
            for _ in range(3):
                with pytest.raises(MemoryError) as caught:
                    act(pool, source)
                if verb:
                    assert str(caught.value) == (
                        f"cannot {verb} pool '{name}': out of memory, address space or mappings "
                        "(Cannot allocate memory); the pool is as it was"
                    )
                assert pool.stats() == before
                assert pmalloc.pools() == pools
                assert pool.root is root
            pool.alloc(1000)
            small = pool.freeze(["small", 70_000])
            pool.protect()
            assert small == ["small", 70_000]
        if used:
            pool.free(kept)
        if call.startswith("freeze"):
            assert pmalloc.freeze(source, name="new") == source

    in_child(work)


def test_out_of_address_space_at_every_size(name: str):
    """The room runs out at one step or another: of the graph, its copy, the chunk, the metadata."""

    def work() -> None:
        source = [{"id": i, "text": f"text {i}"} for i in range(100_000)]
        for number in itertools.count():
            pool = pmalloc.Pool(f"{name} {number}")
            before = settled(pool.stats())
            with room_for(number * MIB):
                try:
                    pool.freeze(source)
                    break
                except MemoryError:
                    assert settled(pool.stats()) == before
                    assert pool.root is None
        assert number > 10
        assert pool.root == source

    in_child(work)


@pytest.mark.skipif(MAX_MAPPINGS > 200_000, reason="so many mappings take long")
def test_out_of_mappings(name: str):
    def work() -> None:
        pool, other = pmalloc.Pool(name), pmalloc.Pool(f"other than {name}")
        frozen = pool.freeze(["frozen", 2.5])
        source = [float(i) for i in range(100_000)]
        calls: list[Callable[[], object]] = [
            lambda: pool.alloc(5 * MIB),
            lambda: other.alloc(1),
            lambda: pool.freeze(source),
            pool.protect,
        ]
        failures = 0
        with no_more_mappings():
            for call in calls:
                before = settled(pool.stats()), settled(other.stats())
                try:  # the kernel may join a mapping with its neighbour; then there is room
                    call()
                except MemoryError:
                    failures += 1
                    assert (settled(pool.stats()), settled(other.stats())) == before
            assert frozen == ["frozen", 2.5]
        assert failures > 0
        if pool.state == "open":
            assert pool.freeze(source) == source
            pool.protect()
        assert other.freeze(source) == source
        other.protect()

    in_child(work)


# ---- threads -------------------------------------------------------------------------------------


pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.mark.parametrize("own_pools", [False, True])
def test_threads(own_pools: bool, name: str):
    """Each thread's allocations hold what it wrote, wherever the others write theirs."""
    threads_there_are, rounds = 6, 300
    shared = pmalloc.Pool(name)
    kept: list[list[tuple[pmalloc.Allocation, bytes]]] = []
    frozen: list[tuple[object, object]] = []
    failures: list[BaseException] = []
    start = threading.Barrier(threads_there_are)

    def work(number: int) -> None:
        try:
            pool = pmalloc.Pool(f"{name} {number}") if own_pools else shared
            mine: list[tuple[pmalloc.Allocation, bytes]] = []
            start.wait()
            for i in range(rounds):
                content = bytes([number]) * (1 + i * 7 % 3000)
                allocation = pool.alloc(len(content))
                with memoryview(allocation) as view:
                    assert view == bytes(len(content))
                    view[:] = content
                mine.append((allocation, content))
                if i % 3 == 0:
                    pool.free(mine.pop(i % len(mine))[0])
                if i % 10 == 0:
                    source = [number, i + 0.5, {"number": f"{number} {i}"}]
                    frozen.append((source, pool.freeze(source)))
            kept.append(mine)
            if own_pools:
                pool.protect()
        except BaseException as error:
            failures.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=[i]) for i in range(threads_there_are)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert failures == []
    if not own_pools:
        assert shared.stats()["allocations"] == sum(map(len, kept)) == threads_there_are * 200
        shared.protect()
    for allocation, content in itertools.chain(*kept):
        with memoryview(allocation) as view:
            assert view == content
    assert all(source == copy for source, copy in frozen)
    assert len(frozen) == threads_there_are * rounds // 10


def test_a_fork_while_threads_allocate(name: str):
    """No lock stays taken in the child: it can go on with the pool."""
    pool = pmalloc.Pool(name)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            pool.free(pool.alloc(100))
            pool.freeze(["frozen"])

    threads = [threading.Thread(target=work) for _ in range(3)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            in_child(lambda: (pool.alloc(5000), pool.freeze([os.getpid()]), pool.protect()))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before)
    pool.protect()

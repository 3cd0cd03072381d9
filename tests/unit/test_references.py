"""The search for words that lead into a pool."""

import ctypes
import gc
import subprocess
import sys
import textwrap
import threading

import pytest

import pmalloc
from pmalloc import Pool, Reference


class Slotted:
    __slots__ = ("value",)


KEPT: dict[str, object] = {}


def words(pool: Pool, target: object) -> list[Reference]:
    return [r for r in pool.references() if r.target_address == id(target) and r.offset == 0]


def test_owners_are_named(name: str):
    pool = Pool(name)
    frozen = pool.freeze([["in a list"], ["in a tuple"], ["in a dict"], ["in slots"], ["global"]])
    pool.protect()
    slotted = Slotted()
    slotted.value = frozen[3]
    holders = [[frozen[0], object()], (frozen[1], object()), {"key": frozen[2], "o": object()}]
    holders.append(slotted)
    globals()["GLOBAL"] = frozen[4]
    owners = [{r.owner for r in words(pool, frozen[n])} for n in range(5)]
    del globals()["GLOBAL"]
    for n, owner in enumerate(("list", "tuple", "dict", "Slotted", f"module {__name__}")):
        assert owner in owners[n], (n, owners)
    assert holders


def test_what_a_finding_says(name: str):
    pool = Pool(name)
    frozen = pool.freeze({"a": ["b"]})
    cell = ctypes.c_void_p(id(frozen["a"]))
    [found] = [r for r in pool.references() if r.address == ctypes.addressof(cell)]
    assert found.target == "FrozenList"
    assert found.target_address == id(frozen["a"])
    assert found.offset == 0
    assert isinstance(found.mapping, str)
    cell.value = id(frozen["a"]) + 16
    [found] = [r for r in pool.references() if r.address == ctypes.addressof(cell)]
    assert (found.target_address, found.offset) == (id(frozen["a"]), 16)
    cell.value = id(frozen["a"]) + 3  # no word of an object is there
    assert not [r for r in pool.references() if r.address == ctypes.addressof(cell)]


def test_allocations(name: str):
    pool = Pool(name)
    allocation = pool.alloc(100)
    inside = ctypes.c_void_p(allocation.address + 99)
    behind = ctypes.c_void_p(allocation.address + 100)
    found = {r.address: r for r in pool.references()}
    assert found[ctypes.addressof(inside)].target == "allocation"
    assert found[ctypes.addressof(inside)].offset == 99
    assert ctypes.addressof(behind) not in found
    owners = {r.owner for r in found.values() if r.target_address == allocation.address}
    pool.free(allocation)
    assert owners
    assert ctypes.addressof(inside) not in {r.address for r in pool.references()}


def test_other_pools_count(name: str):
    first, second = Pool(name), Pool(name + "-second")
    part = first.freeze(["shared"])
    whole = second.freeze([part])
    second.protect()
    assert any(second is pmalloc.pool_of(whole) for _ in words(first, part))
    assert any(r.address > id(whole) and r.address < id(whole) + 200 for r in words(first, part))
    assert all(r.target_address != id(part) for r in second.references())


def test_other_threads_count(name: str):
    pool = Pool(name)
    frozen = pool.freeze([["only there"]])
    ready, end = threading.Event(), threading.Event()

    def hold() -> None:
        mine = frozen[0]
        ready.set()
        end.wait(60)
        assert mine

    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait()
    with_thread = words(pool, frozen[0])
    end.set()
    thread.join()
    assert with_thread


def test_nothing_left():
    """In a process of its own: this one's stack and heap are full of what was there."""
    program = """
    import gc, pmalloc
    def fill(pool):
        for n in range(100):
            pool.freeze({"n": [n, str(n) * 5]})
    pool = pmalloc.Pool("gone")
    fill(pool)
    pool.protect()
    gc.collect()
    print(len(pool.references(1000)))
    kept = [pool.root["n"]] * 500
    print(len(pool.references(1000)) >= 500, len(pool.references(7)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    few, many, limited = done.stdout.split()
    assert int(few) < 20
    assert (many, limited) == ("True", "7")


def test_limit(name: str):
    pool = Pool(name)
    assert pool.references() == []
    KEPT["frozen"] = [pool.freeze(["x"])] * 50
    assert pool.references(0) == []
    assert len(pool.references(3)) == 3
    for limit in (-1, 1 << 30):
        with pytest.raises(ValueError, match="limit is 0 to"):
            pool.references(limit)
    KEPT.clear()


def test_destroy_says_how_many(name: str):
    pool = Pool(name)
    KEPT["frozen"] = pool.freeze(["x", 2])
    pool.protect()
    with pytest.raises(pmalloc.PmallocError, match=r"a search found [1-9]\d* words that lead to"):
        pool.destroy()
    assert KEPT["frozen"] == ["x", 2]
    KEPT.clear()
    gc.collect()
    pool.destroy(force=True)
    with pytest.raises(pmalloc.DestroyedError, match="search for references to pool"):
        pool.references()

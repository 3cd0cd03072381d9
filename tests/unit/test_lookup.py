"""Looking pools up: by name, by object, all of them."""

import pytest

import pmalloc
from pmalloc import Pool


def test_a_destroyed_pool_has_no_root_though_its_name_lives_on(name: str):
    pool = Pool(name)
    pool.freeze(["old"])
    pool.destroy(force=True)
    again = Pool(name)
    root = again.freeze(["new"])
    assert again.root is root
    assert pool.root is None


def test_root_is_what_was_frozen_last(name: str):
    pool = Pool(name)
    with pytest.raises(KeyError) as caught:
        pmalloc.root(name)
    assert caught.value.args == (name,)
    for value in (["first"], {"second": 2}, "third", None, (4,)):
        frozen = pool.freeze(value)
        assert pool.root is pmalloc.root(name) is frozen
    pool.protect()
    assert pool.root is pmalloc.root(name) is frozen


def test_root_of_names_nobody_has(name: str):
    for unknown in (name, "", "x" * 1000, "ü", "a\0b"):
        with pytest.raises(KeyError) as caught:
            pmalloc.root(unknown)
        assert caught.value.args == (unknown,)
    for bad in (None, 1, b"bytes", Pool(name)):
        with pytest.raises(TypeError, match=r"^root\(\) needs the name of a pool, a str$"):
            pmalloc.root(bad)


def test_pool_of_and_is_protected(name: str):
    pool = Pool(name)
    allocation = pool.alloc(100)
    frozen = pool.freeze({"text": "some text", "list": [2.5]})
    inside = [allocation, frozen, frozen["text"], frozen["list"], frozen["list"][0]]
    # A view is an ordinary object, and an address an ordinary number.
    view = memoryview(frozen["text"].encode())
    outside = [pool, view, allocation.address, id(frozen), None, 5, "text", frozen.copy(), dict]
    for thing in inside:
        assert pmalloc.pool_of(thing) is pool
        assert not pmalloc.is_protected(thing)
    pool.protect()
    for thing in inside:
        assert pmalloc.pool_of(thing) is pool
        assert pmalloc.is_protected(thing)
    for thing in outside:
        assert pmalloc.pool_of(thing) is None
        assert not pmalloc.is_protected(thing)
    del inside, outside, frozen, thing
    pool.destroy(force=True)
    assert pmalloc.pool_of(allocation) is None
    assert not pmalloc.is_protected(allocation)


def test_pools_oldest_first(name: str):
    before = pmalloc.pools()
    made = [Pool(f"{name} {i}") for i in range(5)]
    made[2].alloc(1)
    made[0].protect()
    assert pmalloc.pools() == before + made
    made[1].destroy()
    made[3].destroy()
    assert pmalloc.pools() == before + made[::2]
    pmalloc.pools().clear()
    assert pmalloc.pools() == before + made[::2]

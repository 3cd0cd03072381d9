"""A plugin of pytest: every test runs in a block of pool.numpy().

    python -m pytest -p in_pool --pyargs numpy._core.tests.test_multiarray

Tests share a pool, so that what one gives back is used by the next, until it has grown to 1 GiB:
a pool keeps its memory, and some tests want a lot of it. Then it is protected with what arrays are
left in modules, caches and frames, and another one is made. What is left when the interpreter ends
is freed then, in memory that is read-only.
"""

import gc
import itertools

import pytest

import pmalloc

LARGE = 1 << 30
names = (f"numpy-{number}" for number in itertools.count())
pool = pmalloc.Pool(next(names))
ran, pools, left = 0, 1, 0


def end_of(pool):
    """Destroyed, or protected where arrays are left. How many were."""
    gc.collect()
    count = pool._arrays
    pool.protect(revoke=True)
    if count == 0:
        pool.destroy()
    return count


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Around fixtures, too."""
    global left, pool, pools, ran
    with pool.numpy():
        result = yield
    ran += 1
    if pool.stats()["reserved_bytes"] > LARGE:
        left += end_of(pool)
        pool = pmalloc.Pool(next(names))
        pools += 1
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    import numpy as np

    assert np._core.multiarray.get_handler_name() == f"pmalloc:{pool.name}"
    return (yield)


def pytest_unconfigure():
    total = left + end_of(pool)
    print(f"{ran} tests ran in {pools} pools; {total} arrays were left, and protected")

"""Who is in a block of pool.numpy(): this thread, this task, and nobody else."""

import asyncio
import contextvars
import random
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pmalloc import Pool, _core

np = pytest.importorskip("numpy")
handler_name = np._core.multiarray.get_handler_name

STOCK = "default_allocator"
MANY = 100


def owner(array: Any) -> Any:
    return _core.numpy_owner(array)


def test_nested(name: str):
    a, b = Pool(name), Pool(name + "-b")
    with a.numpy():
        one = np.ones(3)
        with b.numpy():
            two = one + 1
            with a.numpy():
                three = two + 1
            four = three + 1
        five = four + 1
    assert [owner(x) for x in (one, two, three, four, five)] == [a, b, a, b, a]
    assert handler_name() == STOCK


def test_entered_again(name: str):
    pool = Pool(name)
    context = pool.numpy()
    for _ in range(3):
        with context:
            with context:
                assert owner(np.ones(3)) is pool
            assert owner(np.ones(3)) is pool
        assert handler_name() == STOCK
    with pytest.raises(RuntimeError, match="was not entered, or has ended"):
        context.__exit__(None, None, None)


def test_exceptions(name: str):
    pool = Pool(name)
    for error in (ValueError, KeyboardInterrupt, MemoryError):
        with pytest.raises(error), pool.numpy():
            raise error
        assert handler_name() == STOCK


def test_somebody_elses_handler_is_put_back(name: str):
    """NumPy's own tests and tracing tools have handlers too."""
    mine, other = Pool(name), Pool(name + "-other")
    before = _core.numpy_swap(_core.numpy_handler(other))
    try:
        with mine.numpy():
            assert owner(np.ones(3)) is mine
        assert owner(np.ones(3)) is other
    finally:
        _core.numpy_swap(before)


def in_turns(barrier: threading.Barrier, pool: Pool, made: list[Any]) -> None:
    draw = random.Random(pool.name)
    for _ in range(20):
        barrier.wait()
        with pool.numpy():
            barrier.wait()
            inside = np.full(draw.randrange(1, 3000), 1.0)
            inside = inside * 2
            barrier.wait()
            made.append(inside)
        outside = inside + 1
        assert owner(outside) is None


def test_a_hundred_threads_never_mix(name: str):
    pools = [Pool(f"{name}-{n}") for n in range(MANY)]
    made: dict[str, list[Any]] = {pool.name: [] for pool in pools}
    failed: list[BaseException] = []
    barrier = threading.Barrier(MANY)

    def work(pool: Pool) -> None:
        try:
            in_turns(barrier, pool, made[pool.name])
        except BaseException as error:
            failed.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(pool,)) for pool in pools]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    for pool in pools:
        assert len(made[pool.name]) == 20
        assert all(owner(array) is pool and (array == 2).all() for array in made[pool.name])
        assert pool._arrays == 20
    made.clear()
    assert [pool._arrays for pool in pools] == [0] * MANY


def test_a_hundred_tasks_never_mix(name: str):
    pools = [Pool(f"{name}-{n}") for n in range(MANY)]

    async def work(pool: Pool) -> list[Any]:
        draw, made = random.Random(pool.name), []
        for _ in range(20):
            await asyncio.sleep(0)
            assert handler_name() == STOCK
            with pool.numpy():
                for _ in range(draw.randrange(4)):
                    await asyncio.sleep(0)
                made.append(np.ones(draw.randrange(1, 3000)) + 1)
                await asyncio.sleep(0)
                made.append(made[-1] + 1)
        return made

    async def main() -> list[list[Any]]:
        return await asyncio.gather(*map(work, pools))

    results = asyncio.run(main())
    assert handler_name() == STOCK
    for pool, made in zip(pools, results, strict=True):
        assert len(made) == 40 and all(owner(array) is pool for array in made)


def test_tasks_in_threads_never_mix(name: str):
    """Both at once: an event loop a thread."""
    pools = [[Pool(f"{name}-{i}-{n}") for n in range(10)] for i in range(10)]
    failed: list[BaseException] = []

    async def task(pool: Pool) -> None:
        for _ in range(10):
            with pool.numpy():
                await asyncio.sleep(0)
                assert owner(np.ones(100) * 2) is pool
            await asyncio.sleep(0)
            assert handler_name() == STOCK

    async def main(mine: list[Pool]) -> None:
        await asyncio.gather(*map(task, mine))

    def thread(mine: list[Pool]) -> None:
        try:
            asyncio.run(main(mine))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=thread, args=(mine,)) for mine in pools]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == []
    assert [pool._arrays for mine in pools for pool in mine] == [0] * MANY


def test_what_a_task_and_a_thread_inherit(name: str):
    pool = Pool(name)
    told: list[Any] = []

    async def child() -> None:
        told.append(owner(np.ones(3)))
        with pool.numpy():
            pass
        told.append(owner(np.ones(3)))

    async def main() -> None:
        with pool.numpy():
            await asyncio.create_task(child())
            # With an empty context: since 3.14 a thread may inherit, too.
            context = contextvars.Context()
            thread = threading.Thread(
                target=lambda: context.run(lambda: told.append(owner(np.ones(3))))
            )
            thread.start()
            thread.join()

    asyncio.run(main())
    assert told == [pool, pool, None]


def test_generator_that_is_suspended_within(name: str):
    """As any context variable: it counts for who goes on with the generator, until it ends."""
    pool = Pool(name)

    def numbers() -> Iterator[Any]:
        with pool.numpy():
            yield np.ones(3)
            yield np.ones(3)

    for array in numbers():
        assert owner(array) is pool
    assert handler_name() == STOCK
    suspended = numbers()
    next(suspended)
    suspended.close()
    assert handler_name() == STOCK


def test_blocks_that_end_out_of_turn(name: str):
    pools = [Pool(f"{name}-{n}") for n in range(3)]

    def numbers(pool: Pool) -> Iterator[Any]:
        with pool.numpy():
            yield np.ones(3)

    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1), (1, 0, 2), (2, 0, 1)):
        running = [numbers(pool) for pool in pools]
        assert [owner(next(each)) for each in running] == pools
        alive = [0, 1, 2]
        for n in order:
            running[n].close()
            alive.remove(n)
            innermost = pools[max(alive)] if alive else None
            assert owner(np.ones(3)) is innermost, order
        assert handler_name() == STOCK
    with pools[0].numpy(), ExitStack() as stack:
        off = Pool(f"{name}-off", on_violation="off")
        stack.enter_context(pools[1].numpy())
        stack.enter_context(off.numpy())
        assert handler_name() == STOCK
    assert handler_name() == STOCK


def test_generator_that_another_thread_ends(name: str):
    """Whose context it began in is not the one it ends in: that is left alone."""
    pool, other = Pool(name), Pool(name + "-other")

    def numbers() -> Iterator[Any]:
        with pool.numpy():
            yield np.ones(3)

    told: list[Any] = []

    def work() -> None:
        with other.numpy():
            suspended.close()
            told.append(owner(np.ones(3)))
        told.append(handler_name())

    with other.numpy():
        suspended = numbers()
        next(suspended)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert told == [other, STOCK]
    assert handler_name() == STOCK  # the block around it took it with it


def test_async_generator(name: str):
    pool = Pool(name)

    async def numbers() -> AsyncIterator[Any]:
        with pool.numpy():
            for _ in range(3):
                await asyncio.sleep(0)
                yield np.ones(3)

    async def consume() -> list[Any]:
        return [array async for array in numbers()]

    async def main() -> list[list[Any]]:
        found = await asyncio.gather(consume(), consume())
        assert handler_name() == STOCK
        return found

    for arrays in asyncio.run(main()):
        assert [owner(array) for array in arrays] == [pool] * 3

"""AsyncObjectPool: the same behaviour for tasks, and no slot lost to cancellation."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import pytest

from dal.asyncio.pool import AsyncObjectPool
from dal.errors import PoolTimeout, UsageError


class Thing:
    """Something expensive."""

    def __init__(self) -> None:
        self.good = True
        self.ended = False


async def make() -> Thing:
    await asyncio.sleep(0)
    return Thing()


async def end(thing: Thing) -> None:
    await asyncio.sleep(0)
    thing.ended = True


async def until(condition: Callable[[], bool], seconds: float = 3.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.002)


async def test_lends_resets_and_destroys() -> None:
    cleaned: list[Thing] = []

    async def clean(thing: Thing) -> None:
        await asyncio.sleep(0)
        cleaned.append(thing)

    async with AsyncObjectPool(make, reset=clean, destroy=end, min_size=2, max_size=2) as pool:
        assert await pool.warm_up()
        async with pool.acquire() as first:
            pass
        async with pool.acquire(timeout=1) as again:
            assert again is first
        assert cleaned == [first, first]
    assert first.ended


async def test_plain_functions_will_do() -> None:
    ended: list[Thing] = []
    pool: AsyncObjectPool[Thing] = AsyncObjectPool(
        Thing,  # type: ignore[arg-type]
        reset=lambda thing: None,
        validate=lambda thing: thing.good,
        destroy=ended.append,
        max_size=1,
    )
    async with pool.acquire() as first:
        first.good = False
    async with pool.acquire() as second:
        assert second is not first
    await pool.close()
    assert ended == [first, second]


async def test_an_invalid_object_is_never_lent() -> None:
    async def alive(thing: Thing) -> bool:
        await asyncio.sleep(0)
        return thing.good

    async with AsyncObjectPool(make, validate=alive, destroy=end, max_size=1) as pool:
        async with pool.acquire() as first:
            first.good = False
        async with pool.acquire() as second:
            assert second is not first


async def test_tasks_are_served_in_the_order_they_came() -> None:
    order: list[int] = []
    async with AsyncObjectPool(make, max_size=1) as pool:

        async def borrow(number: int) -> None:
            async with pool.acquire():
                order.append(number)

        async with pool.acquire():
            tasks = [asyncio.create_task(borrow(number)) for number in range(10)]
            await until(lambda: pool.stats().waiting == 10)
        await asyncio.gather(*tasks)
    assert order == list(range(10))


async def test_a_task_that_waits_for_itself_is_told_at_once() -> None:
    async with AsyncObjectPool(make, max_size=1, timeout=20) as pool:
        began = time.monotonic()
        async with pool.acquire():
            with pytest.raises(PoolTimeout, match="this one included") as caught:
                async with pool.acquire():
                    pass
        assert time.monotonic() - began < 1
    assert "in test_a_task_that_waits_for_itself_is_told_at_once" in str(caught.value)


async def test_the_timeout_names_the_holding_line() -> None:
    async with AsyncObjectPool(make, max_size=1) as pool:

        async def hold(release: asyncio.Event) -> None:
            async with pool.acquire():
                await release.wait()

        release = asyncio.Event()
        task = asyncio.create_task(hold(release))
        await until(lambda: pool.stats().in_use == 1)
        with pytest.raises(PoolTimeout) as caught:
            async with pool.acquire(timeout=0.05):
                pass
        release.set()
        await task
    assert "test_async_objects.py" in str(caught.value)
    assert "in hold" in str(caught.value)


async def test_cancelled_tasks_lose_no_slot() -> None:
    chance = random.Random(7)
    async with AsyncObjectPool(make, max_size=3, timeout=5) as pool:

        async def work() -> None:
            async with pool.acquire():
                await asyncio.sleep(chance.random() * 0.002)

        for _ in range(60):
            tasks = [asyncio.create_task(work()) for _ in range(12)]
            await asyncio.sleep(chance.random() * 0.004)
            for task in tasks:
                if chance.random() < 0.6:
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        stats = pool.stats()
        assert (stats.in_use, stats.waiting) == (0, 0)
        leases = [pool.acquire(timeout=1) for _ in range(3)]
        for lease in leases:
            await lease.__aenter__()
        assert pool.stats().in_use == 3
        for lease in leases:
            await lease.__aexit__(None, None, None)


async def test_suspend_resize_drain_and_close() -> None:
    pool = AsyncObjectPool(make, destroy=end, min_size=1, max_size=1)
    async with pool.acquire() as first:
        await pool.drain()
    assert first.ended
    await pool.suspend()
    with pytest.raises(PoolTimeout, match="suspended"):
        await pool.acquire(timeout=0.02).__aenter__()
    await pool.resume()
    await pool.resize(min_size=2, max_size=3)
    await until(lambda: pool.stats().size == 2)
    await pool.close()
    with pytest.raises(UsageError, match="closed"):
        await pool.acquire().__aenter__()


def test_a_pool_may_move_to_another_loop_when_the_first_is_over() -> None:
    pool = AsyncObjectPool(make, min_size=1, max_size=2, keepalive="50ms")

    async def use() -> int:
        async with pool.acquire(timeout=2), pool.acquire(timeout=2):
            return pool.stats().size

    assert [asyncio.run(use()) for _ in range(3)] == [2, 2, 2]

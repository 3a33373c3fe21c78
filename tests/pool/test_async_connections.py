"""ConnectionPool under an AsyncEngine: the same pool on the tasks of an event loop."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import URL, Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from dal.asyncio.pool import AsyncConnectionPool
from dal.errors import ConnectFailed, PoolTimeout, UsageError
from dal.pool import ConnectionPool
from tests.pool.test_connections import kill

Make = Callable[..., AsyncEngine]


@pytest.fixture
async def engine(url: URL) -> AsyncIterator[Make]:
    made: list[AsyncEngine] = []

    def make(target: URL = url, **settings: Any) -> AsyncEngine:
        made.append(create_async_engine(target, poolclass=ConnectionPool, **settings))
        return made[-1]

    yield make
    for one in made:
        await AsyncConnectionPool(one).close(timeout=1)


async def pid(connection: Any) -> int:
    return int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.005)


async def test_borrows_warms_up_and_counts(engine: Make) -> None:
    made = engine(min_pool_size=3, max_pool_size=4)
    pool = AsyncConnectionPool(made)
    assert await pool.warm_up("5s")
    async with AsyncSession(made) as session:
        assert (await session.execute(text("SELECT 1"))).scalar_one() == 1
        assert pool.stats().in_use == 1
    assert (pool.stats().idle, pool.stats().acquired) == (3, 1)


async def test_killed_idle_connections_are_not_met(engine: Make, admin: Engine) -> None:
    made = engine(min_pool_size=3, max_pool_size=3, keepalive="1h")
    pool = AsyncConnectionPool(made)
    await pool.warm_up()
    async with made.connect() as a, made.connect() as b, made.connect() as c:
        victims = [await pid(a), await pid(b), await pid(c)]
    await asyncio.to_thread(kill, admin, *victims)
    for _ in range(4):
        async with made.connect() as connection:
            assert await pid(connection) not in victims


async def test_a_connection_that_dies_in_use_costs_no_slot(engine: Make, admin: Engine) -> None:
    made = engine(min_pool_size=0, max_pool_size=1, connection_timeout="5s")
    for _ in range(4):
        async with made.connect() as connection:
            await asyncio.to_thread(kill, admin, await pid(connection))
            with pytest.raises(OperationalError):
                await connection.execute(text("SELECT 1"))
    assert AsyncConnectionPool(made).stats().size <= 1


async def test_dead_idle_connections_are_replaced_in_the_background(engine: Make, admin: Engine) -> None:
    made = engine(min_pool_size=2, max_pool_size=2, keepalive="200ms")
    pool = AsyncConnectionPool(made)
    await pool.warm_up()
    async with made.connect() as connection:
        victim = await pid(connection)
    opened = pool.stats().opened
    await asyncio.to_thread(kill, admin, victim)
    await until(lambda: pool.stats().opened == opened + 1 and pool.stats().idle == 2)


async def test_cancellation_loses_no_slot(engine: Make) -> None:
    made = engine(min_pool_size=2, max_pool_size=3, connection_timeout="5s")
    pool = AsyncConnectionPool(made)
    chance = random.Random(3)

    async def work() -> None:
        async with made.connect() as connection:
            await connection.execute(text("SELECT pg_sleep(0.001)"))

    for _ in range(15):
        tasks = [asyncio.create_task(work()) for _ in range(10)]
        await asyncio.sleep(chance.random() * 0.01)
        for task in tasks:
            if chance.random() < 0.5:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: pool.stats().in_use == 0)
    assert pool.stats().waiting == 0
    async with made.connect() as a, made.connect() as b, made.connect() as c:
        assert len({await pid(a), await pid(b), await pid(c)}) == 3


async def test_a_wrong_password_fails_all_waiters_at_once(engine: Make, url: URL) -> None:
    made = engine(url.set(password="not the one"))
    began = time.monotonic()
    results = await asyncio.gather(*(made.connect().__aenter__() for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [ConnectFailed] * 5
    assert time.monotonic() - began < 5


async def test_exhaustion_names_the_line_of_the_task(engine: Make) -> None:
    made = engine(min_pool_size=1, max_pool_size=1, connection_timeout="100ms")
    await AsyncConnectionPool(made).warm_up()

    async def hold(release: asyncio.Event) -> None:
        async with AsyncSession(made) as session:
            await session.execute(text("SELECT 'kept'"))
            await release.wait()

    release = asyncio.Event()
    task = asyncio.create_task(hold(release))
    await until(lambda: AsyncConnectionPool(made).stats().in_use == 1)
    await asyncio.sleep(0.05)
    with pytest.raises(PoolTimeout) as caught:
        await made.connect().__aenter__()
    release.set()
    await task
    message = str(caught.value)
    assert "test_async_connections.py" in message
    assert "in hold, last statement: SELECT 'kept'" in message


async def test_a_task_that_waits_for_itself_is_told_at_once(engine: Make) -> None:
    made = engine(min_pool_size=0, max_pool_size=1)
    began = time.monotonic()
    async with made.connect():
        with pytest.raises(PoolTimeout, match="this one included"):
            await made.connect().__aenter__()
    assert time.monotonic() - began < 1


async def test_dispose_lets_the_engine_go_on(engine: Make) -> None:
    made = engine(min_pool_size=1, max_pool_size=2)
    async with made.connect() as connection:
        first = await pid(connection)
    await made.dispose()
    async with made.connect() as connection:
        assert await pid(connection) != first
    await made.dispose()


async def test_drain_resize_suspend(engine: Make) -> None:
    made = engine(min_pool_size=1, max_pool_size=1, connection_timeout="100ms")
    pool = AsyncConnectionPool(made)
    await pool.warm_up()
    await pool.resize(min_pool_size=2, max_pool_size=3)
    await until(lambda: pool.stats().idle == 2)
    await pool.drain()
    await until(lambda: pool.stats().opened == 4)
    await pool.suspend()
    with pytest.raises(PoolTimeout, match="suspended"):
        await made.connect().__aenter__()
    await pool.resume()
    async with made.connect() as connection:
        assert await pid(connection)


async def test_it_works_with_asyncpg(engine: Make, url: URL) -> None:
    pytest.importorskip("asyncpg")
    made = engine(url.set(drivername="postgresql+asyncpg"), min_pool_size=0, max_pool_size=2, test_on_borrow="always")
    for _ in range(2):
        async with made.connect() as connection:
            assert await pid(connection)
    assert AsyncConnectionPool(made).stats().opened == 1


async def test_another_pool_is_refused(url: URL) -> None:
    made = create_async_engine(url)
    with pytest.raises(UsageError, match="AsyncAdaptedQueuePool"):
        AsyncConnectionPool(made)
    await made.dispose()


def test_an_engine_may_move_to_another_loop_when_the_first_is_over(url: URL) -> None:
    made = create_async_engine(url, poolclass=ConnectionPool, min_pool_size=1, max_pool_size=2)

    async def use() -> set[int]:
        async with made.connect() as a, made.connect() as b:
            return {await pid(a), await pid(b)}

    async def close() -> None:
        await AsyncConnectionPool(made).close(timeout=1)

    seen = [asyncio.run(use()) for _ in range(3)]
    assert [len(pids) for pids in seen] == [2, 2, 2]
    asyncio.run(close())


async def test_one_pool_in_two_running_loops_is_refused(engine: Make) -> None:
    made = engine(min_pool_size=0, max_pool_size=1)

    async def borrow() -> None:
        async with made.connect():
            pass

    async with made.connect():
        with pytest.raises(UsageError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, borrow())

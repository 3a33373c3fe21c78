"""AsyncBatchWriter: what tasks add to BatchWriter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from dal import AsyncBatchWriter, AsyncDatabase, Batch
from dal.errors import NotFound, QueueFull, UsageError
from tests.bulk.conftest import POOL
from tests.bulk.models import Base, City, Engineer, User


@pytest.fixture
async def db(dal_database: URL) -> AsyncIterator[AsyncDatabase]:
    async with AsyncDatabase(dal_database, pool=POOL) as db:
        async with db.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        yield db


async def count(db: AsyncDatabase, entity: Any) -> int:
    async with db.session() as session:
        return await session.scalar(select(func.count()).select_from(entity)) or 0


async def test_a_thousand_tasks(db: AsyncDatabase) -> None:
    batches: list[Batch] = []
    async with AsyncBatchWriter(db, User, size=1000, interval=600, on_batch=batches.append) as writer:

        async def work(worker: int) -> User:
            return await writer.submit(User(email=f"{worker}@b", age=worker % 100))

        users = await asyncio.gather(*(work(worker) for worker in range(1000)))
        assert [user.email for user in users] == [f"{n}@b" for n in range(1000)]
        assert len({user.id for user in users}) == 1000
        assert users[3].double == 6
    assert [(batch.written, batch.reason) for batch in batches] == [(1000, "size")]


async def test_tasks_that_come_back_together_are_written_together(db: AsyncDatabase) -> None:
    batches: list[Batch] = []
    async with AsyncBatchWriter(db, City, size=1000, interval=600, on_batch=batches.append) as writer:

        async def work(worker: int) -> None:
            for n in range(5):
                await writer.submit(City(name=f"{worker} {n}"))

        async with asyncio.timeout(60):
            await asyncio.gather(*(work(worker) for worker in range(20)))
    assert [(batch.written, batch.reason) for batch in batches] == [(20, "waiting")] * 5


async def test_gathering_futures_is_waiting(db: AsyncDatabase) -> None:
    async with AsyncBatchWriter(db, City, interval=600) as writer, asyncio.timeout(60):
        futures = [writer.submit(City(name=name)) for name in ("Oslo", "Bergen", "Oslo")]
        found = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(each) is City for each in found] == [True, True, False]
        assert isinstance(found[2], IntegrityError)
        done, _ = await asyncio.wait([writer.submit(City(name="Tromsø"))])
        assert len(done) == 1
        assert writer.stats().batches == 2
    assert await count(db, City) == 3


async def test_every_kind_in_order(db: AsyncDatabase) -> None:
    async with AsyncBatchWriter(db, User, interval=600) as writer, asyncio.timeout(60):
        user = await writer.submit(User(email="a@b", age=1))
        user.age = 2
        changed = writer.update(user)
        over = writer.upsert(User(email="a@b", plan="paid"), key=[User.email])
        gone = writer.delete(User(email="a@b"), key=[User.email])
        missing = writer.delete(User(email="a@b"), key=[User.email])
        assert (await changed).age == 2
        row = await over
        assert (row.id, row.age, row.plan) == (user.id, 2, "paid")
        assert (await gone).plan == "paid"
        with pytest.raises(NotFound):
            await missing


async def test_joined_inheritance(db: AsyncDatabase) -> None:
    async with AsyncBatchWriter(db, Engineer, interval=600) as writer, asyncio.timeout(60):
        row = await writer.submit(Engineer(name="a", language="Python"))
        assert (row.kind, row.id) == ("engineer", 1)


async def test_the_interval_and_flush(db: AsyncDatabase) -> None:
    async with AsyncBatchWriter(db, City, interval="50ms", flush_when_waiting=False) as writer, asyncio.timeout(60):
        assert (await writer.submit(City(name="Oslo"))).id == 1
    async with AsyncBatchWriter(db, City, interval=600) as writer, asyncio.timeout(60):
        future = writer.submit(City(name="Bergen"))
        await writer.flush()
        assert future.done()
    with pytest.raises(UsageError, match="closed"):
        writer.submit(City(name="Tromsø"))


async def test_room(db: AsyncDatabase) -> None:
    async with AsyncBatchWriter(db, City, size=5, capacity=10, interval=600) as writer, asyncio.timeout(60):
        most = 0
        for n in range(50):
            await writer.room()
            writer.submit(City(name=f"{n}"))
            most = max(most, writer.stats().waiting)
    assert most == 10
    assert await count(db, City) == 50


async def test_a_full_queue_raises_or_drops(db: AsyncDatabase) -> None:
    async with AsyncBatchWriter(db, City, size=1, capacity=1, full="raise") as writer:
        writer.submit(City(name="Oslo"))
        with pytest.raises(QueueFull):
            writer.submit(City(name="Bergen"))
    async with AsyncBatchWriter(db, City, size=1, capacity=1, full="drop") as writer:
        writer.submit(City(name="Tromsø"))
        with pytest.raises(QueueFull):
            await writer.submit(City(name="Bergen"))
    assert await count(db, City) == 2


async def test_a_task_that_is_cancelled_takes_its_item_back(db: AsyncDatabase) -> None:
    async with AsyncBatchWriter(db, City, interval=600, flush_when_waiting=False) as writer, asyncio.timeout(60):

        async def work(name: str) -> None:
            await writer.submit(City(name=name))

        tasks = [asyncio.create_task(work(name)) for name in ("Oslo", "Bergen")]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        await asyncio.sleep(0)
        await writer.flush()
        await tasks[1]
    assert await count(db, City) == 1
    assert writer.stats().cancelled == 1


async def test_it_is_no_part_of_the_unit_it_is_first_used_in(db: AsyncDatabase) -> None:
    async with AsyncBatchWriter(db, City, interval=600) as writer, asyncio.timeout(60):

        async def work(session: AsyncSession) -> None:
            await writer.submit(City(name="Oslo"))
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await db.run(work)
        await writer.submit(City(name="Bergen"))
    assert await count(db, City) == 2


def test_an_event_loop_that_ends_first(dal_database: URL) -> None:
    """What was not written by then is cancelled, and whoever asks is told."""
    kept: list[Any] = []

    async def work() -> None:
        db = AsyncDatabase(dal_database, pool=POOL)
        async with db.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        writer = AsyncBatchWriter(db, City, interval=600)
        kept.extend((writer.submit(City(name="Oslo")), db))
        await asyncio.sleep(0)

    with asyncio.Runner() as loop:
        loop.run(work())
        loop.run(kept[1].close())
    assert kept[0].cancelled()

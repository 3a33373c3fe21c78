"""Async: statements run in greenlets, and findings still name the application's line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import create_engine, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session, selectinload

from dal.detection import NPlusOne, RepeatedStatement, detect
from tests.detection.scenarios.models import Base, User, seed

IDS = range(1, 7)


@pytest_asyncio.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    path = tmp_path / "shop.db"
    sync = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(sync)
    with Session(sync) as session:
        seed(session)
    sync.dispose()
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    yield engine
    await engine.dispose()


def line_of(call_site: str) -> str:
    file, _, rest = call_site.partition(":")
    return Path(file).read_text(encoding="utf-8").splitlines()[int(rest.split()[0]) - 1]


async def test_awaitable_attrs_in_a_loop(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session, detect() as report:
        for user in (await session.scalars(select(User))).all():
            await user.awaitable_attrs.posts  # HERE
    (finding,) = report.findings
    assert isinstance(finding, NPlusOne)
    assert (finding.relationship, finding.queries) == ("User.posts", 6)
    assert "# HERE" in line_of(finding.call_site)
    assert finding.loaded_at is not None
    assert "test_awaitable_attrs_in_a_loop" in finding.loaded_at


async def test_get_in_a_loop(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session, detect() as report:
        for key in IDS:
            await session.get(User, key)  # HERE
    (finding,) = report.findings
    assert "# HERE" in line_of(finding.call_site)


async def test_gather_with_a_session_for_each_item(engine: AsyncEngine) -> None:
    async def load(key: int) -> User | None:
        async with AsyncSession(engine) as session:
            return await session.get(User, key)  # HERE

    async with detect() as report:
        await asyncio.gather(*(load(key) for key in IDS))
    (finding,) = report.findings
    assert isinstance(finding, RepeatedStatement)
    assert finding.queries == 6
    assert "# HERE" in line_of(finding.call_site)


async def test_task_group(engine: AsyncEngine) -> None:
    async def load(key: int) -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT name FROM users WHERE id = :id"), {"id": key})  # HERE

    async with detect() as report, asyncio.TaskGroup() as group:
        for key in IDS:
            group.create_task(load(key))
    assert "# HERE" in line_of(report.findings[0].call_site)


async def test_run_sync(engine: AsyncEngine) -> None:
    def page(session: Session) -> None:
        for user in session.scalars(select(User)).all():
            len(user.posts)  # HERE

    async with AsyncSession(engine) as session, detect() as report:
        await session.run_sync(page)
    (finding,) = report.findings
    assert "# HERE" in line_of(finding.call_site)
    assert any("test_run_sync" in line for line in finding.stack)


async def test_stream_with_a_query_inside(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session, AsyncSession(engine) as other, detect() as report:
        async for user in await session.stream_scalars(select(User)):
            await other.scalars(select(User.name).where(User.id == user.id))  # HERE
    assert "# HERE" in line_of(report.findings[0].call_site)


async def test_refresh_in_a_loop(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session, detect() as report:
        for user in (await session.scalars(select(User))).all():
            await session.refresh(user)  # HERE
    assert "# HERE" in line_of(report.findings[0].call_site)


async def test_relationships_refreshed_in_a_loop(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session, detect() as report:
        for user in (await session.scalars(select(User))).all():
            await session.refresh(user, attribute_names=["posts", "badges"])  # HERE
    (finding,) = report.findings
    assert "# HERE" in line_of(finding.call_site)


async def test_generator_that_streams_and_asks(engine: AsyncEngine) -> None:
    async def lines() -> AsyncIterator[str]:
        async with AsyncSession(engine) as session:
            for user in (await session.scalars(select(User))).all():
                posts = await user.awaitable_attrs.posts  # HERE
                yield f"{user.name}: {len(posts)}"

    with detect() as report:
        assert len([line async for line in lines()]) == 6
    (finding,) = report.findings
    assert finding.subject == "User.posts"
    assert "# HERE" in line_of(finding.call_site)


async def test_keys_gathered_into_batches_are_silent(engine: AsyncEngine) -> None:
    """A dataloader: what tasks ask for in one turn of the loop is one statement."""
    waiting: dict[int, asyncio.Future[str]] = {}

    async def flush() -> None:
        await asyncio.sleep(0)
        batch, found = dict(waiting), {}
        waiting.clear()
        async with AsyncSession(engine) as session:
            for user in await session.scalars(select(User).where(User.id.in_(batch))):
                found[user.id] = user.name
        for key, future in batch.items():
            future.set_result(found[key])

    async def name(key: int) -> str:
        if not waiting:
            flushes.append(asyncio.create_task(flush()))
        waiting[key] = asyncio.get_running_loop().create_future()
        return await waiting[key]

    flushes: list[asyncio.Task[None]] = []
    async with detect() as report:
        for _ in range(3):
            assert len(await asyncio.gather(*(name(key) for key in IDS))) == 6
    assert report.count == 3
    assert not report.findings, str(report)


async def test_widgets_gathered_are_silent(engine: AsyncEngine) -> None:
    async def count(table: str) -> int:
        async with engine.connect() as connection:
            return int(await connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)

    async with detect() as report:
        await asyncio.gather(*(count(table) for table in ("users", "posts", "comments", "tags")))
    assert not report.findings, str(report)


async def test_silence(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session, detect() as report:
        users = (await session.scalars(select(User).options(selectinload(User.posts)))).all()
        assert sum(len(user.posts) for user in users) == 30
        one = await session.get(User, 1)
        assert one is not None
        await one.awaitable_attrs.badges
        two = await session.get(User, 2)
        assert two is not None
        await two.awaitable_attrs.badges
    assert not report.findings, str(report)


async def test_two_windows_at_the_same_time_see_their_own(engine: AsyncEngine) -> None:
    async def window(times: int) -> int:
        async with AsyncSession(engine) as session, detect() as report:
            for _ in range(times):
                await session.execute(text("SELECT 1"))
                await asyncio.sleep(0)
        return report.count

    assert list(await asyncio.gather(window(3), window(5), window(1))) == [3, 5, 1]


@pytest.mark.parametrize("kind", ["thread", "pool", "to_thread"])
async def test_threads_started_inside(engine: AsyncEngine, kind: str) -> None:
    from concurrent.futures import ThreadPoolExecutor
    from threading import Thread

    sync = create_engine(engine.url.set(drivername="sqlite"))

    def load(key: int) -> None:
        with Session(sync) as session:
            session.get(User, key)  # HERE

    with detect() as report:
        if kind == "pool":
            with ThreadPoolExecutor(3) as pool:
                list(pool.map(load, IDS))
        elif kind == "thread":
            threads = [Thread(target=load, args=(key,)) for key in IDS]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        else:
            await asyncio.gather(*(asyncio.to_thread(load, key) for key in IDS))
    sync.dispose()
    (finding,) = report.findings
    assert finding.queries == 6
    assert "# HERE" in line_of(finding.call_site)

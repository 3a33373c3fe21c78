from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from dal.testing import count_statements

ONE = text("SELECT 1")


@pytest.fixture
def engine() -> Engine:
    return create_engine("sqlite://")


@pytest.fixture
def async_engine() -> AsyncEngine:
    return create_async_engine("sqlite+aiosqlite://")


def test_engine_counts_every_connection_also_one_opened_before(engine: Engine) -> None:
    with engine.connect() as early, count_statements(engine) as seen:
        early.execute(ONE)
        with engine.connect() as late:
            late.execute(ONE)
    assert seen.count == 2
    assert seen.statements == ["SELECT 1", "SELECT 1"]
    assert str(seen) == "1. SELECT 1\n2. SELECT 1"
    engine.dispose()


def test_connection_counts_its_own_only(engine: Engine) -> None:
    with engine.connect() as one, engine.connect() as other, count_statements(one) as seen:
        one.execute(ONE)
        other.execute(ONE)
    assert seen.count == 1
    engine.dispose()


def test_session_counts_through_engine_or_connection(engine: Engine) -> None:
    with Session(engine) as session, count_statements(session) as seen:
        session.execute(ONE)
    assert seen.count == 1
    with engine.connect() as connection, Session(connection) as session, count_statements(session) as seen:
        session.execute(ONE)
    assert seen.count == 1
    engine.dispose()


def test_counting_ends_with_the_block_and_clears(engine: Engine) -> None:
    with engine.connect() as connection:
        with count_statements(engine) as seen:
            connection.execute(ONE)
            seen.clear()
            assert seen.count == 0
        connection.execute(ONE)
    assert seen.count == 0
    engine.dispose()


def test_failures_count_and_executemany_is_one(engine: Engine) -> None:
    with engine.connect() as connection, count_statements(engine) as seen:
        with pytest.raises(OperationalError):
            connection.execute(text("SELECT nothing"))
        connection.execute(text("CREATE TABLE t (id int)"))
        connection.execute(text("INSERT INTO t VALUES (:id)"), [{"id": 1}, {"id": 2}])
    assert seen.count == 3
    engine.dispose()


async def test_async_engine_connection_and_session(async_engine: AsyncEngine) -> None:
    async with async_engine.connect() as connection:
        with count_statements(async_engine) as by_engine, count_statements(connection) as by_connection:
            await connection.execute(ONE)
    async with AsyncSession(async_engine) as session:
        with count_statements(session) as by_session:
            await session.execute(ONE)
    assert (by_engine.count, by_connection.count, by_session.count) == (1, 1, 1)
    await async_engine.dispose()

"""The fixtures, used as a project would use them."""

from __future__ import annotations

from time import monotonic, sleep

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from dal.testing import Template

NAMES = text("SELECT datname FROM pg_database")
TABLES = text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")


used: set[str | None] = set()


@pytest.mark.parametrize("_", range(2))
def test_own_database_starts_empty(dal_database: URL, _: int) -> None:
    assert dal_database.database not in used
    used.add(dal_database.database)
    engine = create_engine(dal_database)
    with engine.begin() as connection:
        assert connection.scalar(TABLES) == 0
        connection.execute(text("CREATE TABLE things (id int)"))
    engine.dispose()


@pytest.mark.parametrize("_", range(2))
def test_connection_is_rolled_back(dal_connection: Connection, _: int) -> None:
    assert dal_connection.scalar(TABLES) == 0
    dal_connection.execute(text("CREATE TABLE things (id int)"))


@pytest.mark.parametrize("_", range(2))
def test_session_commits_into_a_savepoint(dal_session: Session, _: int) -> None:
    assert dal_session.scalar(TABLES) == 0
    dal_session.execute(text("CREATE TABLE things (id int PRIMARY KEY)"))
    dal_session.execute(text("INSERT INTO things VALUES (1)"))
    dal_session.commit()
    with pytest.raises(IntegrityError):
        dal_session.execute(text("INSERT INTO things VALUES (1)"))
    dal_session.rollback()
    assert dal_session.scalar(text("SELECT count(*) FROM things")) == 1


@pytest.mark.parametrize("_", range(2))
async def test_async_connection_is_rolled_back(dal_async_connection: AsyncConnection, _: int) -> None:
    assert await dal_async_connection.scalar(TABLES) == 0
    await dal_async_connection.execute(text("CREATE TABLE things (id int)"))


@pytest.mark.parametrize("_", range(2))
async def test_async_session_commits_into_a_savepoint(dal_async_session: AsyncSession, _: int) -> None:
    assert await dal_async_session.scalar(TABLES) == 0
    await dal_async_session.execute(text("CREATE TABLE things (id int)"))
    await dal_async_session.commit()
    assert await dal_async_session.scalar(TABLES) == 1


def test_own_database_is_gone_soon_afterwards(dal_template: Template, engine: Engine) -> None:
    with dal_template.clone() as url, engine.connect() as connection:
        assert url.database in set(connection.scalars(NAMES))
    with engine.connect() as connection:
        deadline = monotonic() + 10
        while url.database in set(connection.scalars(NAMES)) and monotonic() < deadline:
            sleep(0.01)
        names = set(connection.scalars(NAMES))
    assert url.database not in names
    assert engine.url.database in names


async def test_engines_of_this_suite(engine: Engine, async_engine: AsyncEngine) -> None:
    assert engine.url.database == async_engine.url.database
    async with async_engine.connect() as connection:
        assert await connection.scalar(text("SHOW wal_level")) == "logical"

"""Databases for the bulk tests: PostgreSQL, SQLite and MariaDB, seen through both doors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import URL

from dal import AsyncBulkWriter, AsyncDatabase, BulkWriter, Database, PoolConfig
from tests.bulk.models import Base

POOL = PoolConfig(min_pool_size=1, max_pool_size=4, retry_delay="20ms")

Doors = Callable[..., Any]


def made(url: URL) -> Database:
    db = Database(url, pool=POOL)
    if db.engine.dialect.name == "sqlite":
        event.listen(db.engine, "connect", lambda driver, record: driver.execute("PRAGMA foreign_keys = ON"))
    Base.metadata.create_all(db.engine)
    return db


@pytest.fixture(params=["postgresql", "sqlite", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[URL]:
    """A database of the test's own, on each kind of server."""
    if request.param == "postgresql":
        yield request.getfixturevalue("dal_database")
    elif request.param == "sqlite":
        yield URL.create("sqlite", database=str(tmp_path / "bulk.db"))
    else:
        found: URL = request.getfixturevalue("mariadb")
        with Database(found, pool=POOL) as db:
            Base.metadata.drop_all(db.engine)
        yield found


@pytest.fixture
def db(url: URL) -> Iterator[Database]:
    """A database with the tables in it."""
    with made(url) as db:
        yield db


@pytest.fixture
def pg(dal_database: URL) -> Iterator[Database]:
    """A PostgreSQL with the tables in it."""
    with made(dal_database) as db:
        yield db


class AsyncDoor:
    """An AsyncBulkWriter, each call run to its end in one event loop."""

    def __init__(self, db: AsyncDatabase, loop: asyncio.Runner, entity: Any) -> None:
        self._writer: AsyncBulkWriter[Any] = AsyncBulkWriter(db, entity)
        self._loop = loop

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            return await getattr(self._writer, name)(*args, **kwargs)

        return lambda *args, **kwargs: self._loop.run(call(*args, **kwargs))


@pytest.fixture(params=["sync", "async"])
def writer(request: pytest.FixtureRequest, db: Database) -> Iterator[Callable[[Any], Any]]:
    """Make a bulk writer through either door, on each kind of server."""
    if request.param == "sync":
        yield lambda entity: BulkWriter(db, entity)
        return
    if db.engine.dialect.name in {"mysql", "mariadb"}:
        pytest.skip("aiomysql is not installed: the async door of MariaDB needs it")
    url = db.url.set(drivername="sqlite+aiosqlite") if db.engine.dialect.name == "sqlite" else db.url
    with ExitStack() as stack:
        loop = stack.enter_context(asyncio.Runner())
        opened = AsyncDatabase(url, pool=POOL)
        stack.callback(lambda: loop.run(opened.close()))
        yield lambda entity: AsyncDoor(opened, loop, entity)

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


def _with_foreign_keys(driver: Any, record: object) -> None:
    cursor = driver.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def made(url: URL) -> Database:
    db = Database(url, pool=POOL)
    if db.engine.dialect.name == "sqlite":
        event.listen(db.engine, "connect", _with_foreign_keys)
    Base.metadata.create_all(db.engine)
    return db


@pytest.fixture(params=["postgresql", "postgresql async", "sqlite", "sqlite async", "mariadb"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of server, through each door that there is a driver for."""
    return str(request.param)


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[URL]:
    """A database of the test's own."""
    if kind.startswith("postgresql"):
        yield request.getfixturevalue("dal_database")
    elif kind.startswith("sqlite"):
        yield URL.create("sqlite", database=str(tmp_path / "bulk.db"))
    else:
        yield request.getfixturevalue("mariadb")


@pytest.fixture(params=["few", "many"])
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both routes of an upsert on PostgreSQL, whatever the number of rows."""
    for limit in ("BELOW", "DELETES_BELOW"):
        monkeypatch.setattr(f"dal.bulk.few.{limit}", 1_000_000 if request.param == "few" else 0)
    return str(request.param)


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


@pytest.fixture
def writer(kind: str, db: Database) -> Iterator[Callable[[Any], Any]]:
    """Make a bulk writer for an entity."""
    if not kind.endswith("async"):
        yield lambda entity: BulkWriter(db, entity)
        return
    url = db.url.set(drivername="sqlite+aiosqlite") if db.engine.dialect.name == "sqlite" else db.url
    with ExitStack() as stack:
        loop = stack.enter_context(asyncio.Runner())
        opened = AsyncDatabase(url, pool=POOL)
        if db.engine.dialect.name == "sqlite":
            event.listen(opened.engine.sync_engine, "connect", _with_foreign_keys)
        stack.callback(lambda: loop.run(opened.close()))
        yield lambda entity: AsyncDoor(opened, loop, entity)

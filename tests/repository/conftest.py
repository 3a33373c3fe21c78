"""One suite for both doors and both databases: every test runs over Session and AsyncSession, on SQLite and PostgreSQL."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from dal.asyncio import AsyncRepository
from dal.repository import Repository
from dal.testing import Server
from tests.repository.models import METADATA, Hero

POSTGRESQL = pytest.mark.parametrize("url", ["postgresql"], indirect=True)
"""Mark a test of what only PostgreSQL has."""

SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""Mark a test of what only SQLite does."""


@dataclass
class Door:
    """A repository's session, sync or async, and what it sent.

    `run` calls a function with the sync Session; `repository` makes the door's own repository; `done` and `all` wait for
    what its methods return.
    """

    session: Any
    run: Callable[[Callable[[Session], Any]], Any]
    base: type[Any]
    dialect: str
    sent: list[str] = field(default_factory=list)

    def repository(self, cls: Any, **options: Any) -> Any:
        return self.base(self.session, cls, **options)

    async def seed(self, *objects: Any) -> None:
        """Commit objects, forget them, and start counting."""

        def write(session: Session) -> None:
            session.add_all(objects)
            session.commit()
            session.expunge_all()

        await self.run(write)
        self.sent.clear()

    @contextmanager
    def expect(self, statements: int) -> Iterator[None]:
        """Expect a number of statements in a block."""
        self.sent.clear()
        yield
        assert len(self.sent) == statements, "\n".join(self.sent)


async def done(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


async def drain(stream: Any) -> list[Any]:
    return [each async for each in stream] if hasattr(stream, "__aiter__") else list(stream)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with the tables of these tests; every test empties it first."""
    if request.param == "sqlite":
        yield _made(f"sqlite:///{tmp_path_factory.mktemp('repository')}/shop.db")
        return
    server: Server = request.getfixturevalue("dal_server")
    name = f"repository_{uuid.uuid4().hex}"
    address = server.create_database(name)
    yield _made(address.render_as_string(hide_password=False))
    server.drop_database(name)


def _made(url: str) -> str:
    engine = _engine(url)
    METADATA.create_all(engine)
    SQLModel.metadata.create_all(engine, tables=[Hero.__table__])  # type: ignore[attr-defined]
    engine.dispose()
    return url


def _engine(url: str) -> Engine:
    engine = create_engine(url, poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _foreign_keys)
    return engine


def _foreign_keys(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA foreign_keys = ON")


def _empty(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in (*reversed(METADATA.sorted_tables), Hero.__table__):  # type: ignore[attr-defined]
            connection.execute(table.delete())


@pytest.fixture(params=["sync", "async"])
async def door(request: pytest.FixtureRequest, url: str) -> AsyncIterator[Door]:
    engine = _engine(url)
    _empty(engine)
    if request.param == "sync":
        with Session(engine) as session:

            async def call(function: Callable[[Session], Any]) -> Any:
                return function(session)

            yield _watched(engine, Door(session, call, Repository, engine.dialect.name))
        return
    async_engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"), poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        event.listen(async_engine.sync_engine, "connect", lambda raw, _: raw.cursor().execute("PRAGMA foreign_keys = ON"))
    async with AsyncSession(async_engine) as async_session:
        yield _watched(
            async_engine.sync_engine,
            Door(async_session, async_session.run_sync, AsyncRepository, engine.dialect.name),
        )
    await async_engine.dispose()


def _watched(engine: Engine, door: Door) -> Door:
    event.listen(engine, "before_cursor_execute", lambda _, __, sql, *___: door.sent.append(sql))
    return door

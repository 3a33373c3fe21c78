"""API.md, "Writing in bulk": batches, run as written."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future

import pytest
from sqlalchemy import DateTime, func
from sqlalchemy.engine import URL
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import AsyncBatchWriter, AsyncDatabase, BatchWriter, Database
from tests.promise.conftest import POOL


class Base(DeclarativeBase):
    pass


class Event(Base):
    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


@pytest.fixture
def db(dal_database: URL) -> Iterator[Database]:
    with Database(dal_database, pool=POOL) as db:
        Base.metadata.create_all(db.engine)
        yield db


@pytest.fixture
async def async_db(dal_database: URL) -> AsyncIterator[AsyncDatabase]:
    async with AsyncDatabase(dal_database, pool=POOL) as db:
        async with db.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        yield db


def test_a_batch_writer(db: Database) -> None:
    with BatchWriter(db, Event, size=100, interval=5.0) as writer:
        future = writer.submit(Event(name="login"))
    assert isinstance(future, Future)
    event = future.result()
    assert (event.id, event.name) == (1, "login")
    assert event.at.tzinfo is not None


async def test_an_async_batch_writer(async_db: AsyncDatabase) -> None:
    async with AsyncBatchWriter(async_db, Event) as writer:
        future = writer.submit(Event(name="login"))
        row = await future
    assert (row.id, row.name) == (1, "login")

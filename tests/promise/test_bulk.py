"""The lines that promise bulk writing, run as written."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import String, func, select
from sqlalchemy.engine import URL
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import AsyncBulkWriter, AsyncDatabase, BulkWriter, Database


class Base(DeclarativeBase): ...


class Flight(Base):
    __tablename__ = "promised_flights"

    id: Mapped[int] = mapped_column(primary_key=True)
    carrier: Mapped[str] = mapped_column(String(2))
    distance: Mapped[int | None]


@pytest.fixture
def url(dal_database: URL) -> URL:
    with Database(dal_database) as db:
        Base.metadata.create_all(db.engine)
    return dal_database


def rows(number: int, **more: Any) -> list[dict[str, Any]]:
    return [{"id": each, "carrier": "UA", **more} for each in range(1, number + 1)]


def test_bulk_writer(db: Database) -> None:
    bulk = BulkWriter(db, Flight)
    bulk.insert(rows(10))
    result = bulk.upsert(rows(20, distance=100), key=[Flight.id])
    assert (result.inserted, result.updated, list(result.rejected), result.seconds > 0) == (10, 10, [], True)
    assert bulk.update(rows(5, distance=7), key=[Flight.id]).updated == 5
    keys = [1, 2, 3]
    assert bulk.delete(keys).deleted == 3
    with db.session() as session:
        assert session.scalar(select(func.sum(Flight.distance))) == 2 * 7 + 15 * 100


def test_inside_the_callers_transaction(db: Database) -> None:
    with db.session() as session:
        BulkWriter(session, Flight).insert(rows(3))
        session.rollback()
    with db.session() as session:
        assert session.scalar(select(func.count()).select_from(Flight)) == 0


async def test_through_the_async_door(async_db: AsyncDatabase) -> None:
    bulk = AsyncBulkWriter(async_db, Flight)
    assert (await bulk.insert(rows(10))).inserted == 10
    assert (await bulk.upsert(rows(10), key=[Flight.id])).unchanged == 10
    assert (await bulk.delete([1, 2])).deleted == 2

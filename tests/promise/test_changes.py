"""The promised lines of change streams, as a user writes them, through both doors."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import DateTime, select, text
from sqlalchemy.engine import URL
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from dal import AsyncBulkWriter, AsyncDatabase, BulkWriter, Change, Database, sum_of
from tests.promise.conftest import POOL, made
from tests.promise.models import Order


class Base(DeclarativeBase):
    pass


class Revenue(Base):
    __tablename__ = "revenue"

    shop: Mapped[str] = mapped_column(primary_key=True)
    window_start: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    revenue: Mapped[int]


class Sale(Base):
    __tablename__ = "sales"

    id: Mapped[int] = mapped_column(primary_key=True)
    shop: Mapped[str]
    total: Mapped[int]


def is_paid(change: Change) -> bool:
    return change.kind == "insert" and change.new is not None and change.new["total"] > 0


def to_sale(change: Change) -> Sale:
    new = change.new or {}
    return Sale(shop=f"shop {new['user_id']}", total=new["total"])


@pytest.fixture
def url(dal_database: URL) -> URL:
    with Database(made(dal_database), pool=POOL) as db:
        Base.metadata.create_all(db.engine)
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f'ALTER DATABASE "{dal_database.database}" SET synchronous_commit = on'))
    return dal_database


SALES = {1: [30, 40, 0], 2: [5], 3: []}


def sell(db: Database) -> None:
    for user, totals in SALES.items():
        for total in totals:
            with db.transaction() as session:
                session.add(Order(user_id=user, total=total))


def revenues(db: Database) -> dict[str, int]:
    with db.session() as session:
        found: dict[str, int] = {}
        for shop, revenue in session.execute(select(Revenue.shop, Revenue.revenue)):
            found[shop] = found.get(shop, 0) + revenue
        return found


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def test_a_loop_over_changes(db: Database) -> None:
    db.changes(Order, name="billing").create()
    threading.Thread(target=sell, args=(db,)).start()
    seen: list[tuple[Any, ...]] = []
    for change in db.changes(Order, name="billing"):  # inserts, updates, deletes, in commit order, at least once, resumable
        new = change.new or {}
        seen.append((change.kind, change.key == new["id"], change.old, new["total"]))
        change.ack()
        assert change.position
        assert change.committed_at.tzinfo is not None
        if len(seen) == 4:
            break
    assert seen == [("insert", True, None, total) for totals in SALES.values() for total in totals]
    db.changes(Order, name="billing").drop()


def test_the_line_alone_runs(db: Database) -> None:
    (db.changes(Order, name="revenue").filter(is_paid).map(to_sale)
       .window(seconds=60, by=Sale.shop, aggregate={"revenue": sum_of(Sale.total)}).to(BulkWriter(db, Revenue)))  # fmt: skip
    sell(db)
    with db.transaction() as session:  # an hour later
        session.execute(text("SELECT 1"))
    assert revenues(db) == {}, "the minute is not over"
    db.close()


def test_windows_end_in_the_table(db: Database) -> None:
    flow = (db.changes(Order, name="revenue").filter(is_paid).map(to_sale)
       .window(seconds=1, by=Sale.shop, aggregate={"revenue": sum_of(Sale.total)}).to(BulkWriter(db, Revenue)))  # fmt: skip
    sell(db)
    until(lambda: revenues(db) == {"shop 1": 70, "shop 2": 5})
    assert flow.stop()
    db.changes(Order, name="revenue").drop()


async def test_the_async_door(url: URL) -> None:
    async with AsyncDatabase(url, pool=POOL) as db:
        revenue = {"revenue": sum_of(Sale.total)}
        flow = (db.changes(Order, name="revenue").filter(is_paid).map(to_sale)
           .window(seconds=1, by=Sale.shop, aggregate=revenue).to(AsyncBulkWriter(db, Revenue)))  # fmt: skip
        await flow.ready()
        changes = db.changes(Order, name="billing")
        await changes.create()
        with Database(url, pool=POOL) as writer:
            await asyncio.to_thread(sell, writer)
            seen = []
            async for change in db.changes(Order, name="billing"):
                seen.append(change.new and change.new["total"])
                change.ack()
                if len(seen) == 4:
                    break
            assert seen == [30, 40, 0, 5]
            await asyncio.to_thread(until, lambda: revenues(writer) == {"shop 1": 70, "shop 2": 5})
        assert await flow.stop()
        await changes.drop()
        await db.changes(Order, name="revenue").drop()

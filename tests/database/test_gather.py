"""gather: several statements at the same time, in one snapshot."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import ForeignKey, Select, func, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship

from dal import AsyncDatabase, Database, DeadlineExceeded, PoolConfig, UsageError
from dal.events import Retried
from tests.database.doors import DOORS, Door, open_door

Beside = psycopg.Connection[Any]


class Base(DeclarativeBase):
    pass


class Stock(Base):
    __tablename__ = "stock"
    id: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[int]
    moves: Mapped[list[Move]] = relationship(order_by="Move.id")


class Move(Base):
    __tablename__ = "moves"
    id: Mapped[int] = mapped_column(primary_key=True)
    stock_id: Mapped[int] = mapped_column(ForeignKey("stock.id"))


@pytest.fixture
def moves(beside: Beside) -> None:
    beside.execute("CREATE TABLE moves (id int PRIMARY KEY, stock_id int REFERENCES stock)")
    beside.execute("INSERT INTO moves SELECT n, 1 + n % 2 FROM generate_series(1, 6) n")


def slow(seconds: float) -> Select[Any]:
    return select(func.pg_backend_pid(), func.pg_sleep(seconds))


def test_one_thing_comes_as_it_is_and_several_as_rows(db: Door, moves: None) -> None:
    stocks, amounts, rows, counted = db.call(
        lambda database: database.gather(
            select(Stock).order_by(Stock.id),
            select(Stock.amount),
            select(Stock.id, Stock.amount).order_by(Stock.id),
            select(func.count()).select_from(Move),
        )
    )
    assert [(type(stock), stock.amount) for stock in stocks] == [(Stock, 10), (Stock, 10)]
    assert amounts == [10, 10]
    assert [tuple(row) for row in rows] == [(1, 10), (2, 10)]
    assert counted == [6]


def test_joined_collections_do_not_repeat_their_owner(db: Door, moves: None) -> None:
    (stocks, _) = db.call(lambda database: database.gather(select(Stock).options(joinedload(Stock.moves)), select(Move)))
    assert [len(stock.moves) for stock in stocks] == [3, 3]


def test_at_the_same_time(db: Door) -> None:
    db.call(lambda database: database.gather(*[slow(0.1)] * 3))
    began = time.monotonic()
    results = db.call(lambda database: database.gather(*[slow(0.5)] * 3))
    assert time.monotonic() - began < 1.0
    assert len({result[0][0] for result in results}) == 3


def test_in_one_snapshot(db: Door, beside: Beside) -> None:
    # Each statement looks at its end, while somebody else writes all the time.
    amount = select(func.pg_sleep(0.1), Stock.amount).where(Stock.id == 1)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            beside.execute("UPDATE stock SET amount = amount + 1 WHERE id = 1")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = [db.call(lambda database: database.gather(*[amount] * 4)) for _ in range(5)]
    finally:
        stop.set()
        writer.join()
    assert [len({result[0].amount for result in results}) for results in seen] == [1] * 5
    assert len({results[0][0].amount for results in seen}) > 1


def test_with_a_single_connection_it_is_still_done(opened: Callable[..., Door]) -> None:
    db = opened(pool=PoolConfig(min_pool_size=1, max_pool_size=1))
    results = db.call(lambda database: database.gather(*[slow(0.01)] * 3))
    assert len({result[0][0] for result in results}) == 1


def test_while_others_hold_the_connections(dal_database: URL) -> None:
    with Database(dal_database, pool=PoolConfig(min_pool_size=2, max_pool_size=2)) as db, db.session() as held:
        held.execute(text("SELECT 1"))
        assert len(db.gather(*[slow(0.01)] * 4)) == 4


def test_it_is_read_only(db: Door, beside: Beside) -> None:
    beside.execute("CREATE FUNCTION put() RETURNS int LANGUAGE sql AS 'UPDATE stock SET amount = 0 RETURNING 1'")
    with pytest.raises(Exception, match="read-only transaction"):
        db.call(lambda database: database.gather(select(func.put()), select(func.put())))


def test_an_error_of_one_is_the_error_of_all(db: Door) -> None:
    with pytest.raises(ProgrammingError, match="nowhere"):
        db.call(lambda database: database.gather(slow(0.01), select(text("1 FROM nowhere")), slow(0.01)))
    assert db.call(lambda database: database.gather(select(func.count())))[0] == [1]


def test_an_error_of_one_breaks_off_the_others(db: Door, beside: Beside) -> None:
    began = time.monotonic()
    with pytest.raises(DataError, match="division by zero"):
        db.call(lambda database: database.gather(slow(20), select(func.pg_sleep(0.3), 1 / func.length("")), slow(20)))
    assert time.monotonic() - began < 10
    assert soon(lambda: sleeping(beside) == 0)
    assert db.call(lambda database: database.gather(slow(0), slow(0)))


@pytest.mark.parametrize("statements", [2, 6])
def test_ctrl_c_breaks_off_all(dal_database: URL, beside: Beside, statements: int) -> None:
    def press() -> None:
        soon(lambda: sleeping(beside) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    with Database(dal_database, pool=PoolConfig(min_pool_size=1, max_pool_size=2)) as db:
        presser = threading.Thread(target=press)
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            presser.start()
            db.gather(*[slow(20)] * statements)
        presser.join()
        assert soon(lambda: sleeping(beside) == 0)
        assert db.gather(slow(0), slow(0))
    assert time.monotonic() - began < 10


async def test_a_cancelled_task_breaks_off_all(dal_database: URL, beside: Beside) -> None:
    async with AsyncDatabase(dal_database) as db:
        task = asyncio.create_task(db.gather(slow(20), slow(20)))
        assert await asyncio.to_thread(soon, lambda: sleeping(beside) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
        assert await asyncio.to_thread(soon, lambda: sleeping(beside) == 0)
        assert await db.gather(slow(0), slow(0))


def test_a_database_that_is_closed_meanwhile(dal_database: URL, beside: Beside) -> None:
    db = Database(dal_database)

    def close() -> None:
        soon(lambda: sleeping(beside) == 2)
        db.close()

    closer = threading.Thread(target=close)
    closer.start()
    began = time.monotonic()
    with pytest.raises(UsageError, match="the database was closed while gather ran"):
        db.gather(slow(20), slow(20))
    closer.join(20)
    assert time.monotonic() - began < 9
    assert sleeping(beside) == 0


async def test_a_database_that_is_closed_meanwhile_by_another_task(dal_database: URL, beside: Beside) -> None:
    db = AsyncDatabase(dal_database)
    task = asyncio.create_task(db.gather(slow(20), slow(20)))
    assert await asyncio.to_thread(soon, lambda: sleeping(beside) == 2)
    await asyncio.wait_for(db.close(), 9)
    with pytest.raises(UsageError, match="the database was closed while gather ran"):
        await task
    assert sleeping(beside) == 0


def sleeping(beside: Beside) -> int:
    found = beside.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
        " AND datname = current_database() AND query LIKE '%pg_sleep%'"
    ).fetchone()
    return int(found[0]) if found else 0


def soon(met: Callable[[], bool], seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while not met() and time.monotonic() < until:
        time.sleep(0.02)
    return met()


def test_a_killed_helper_is_not_noticed(db: Door, beside: Beside) -> None:
    create = "CREATE OR REPLACE FUNCTION die() RETURNS int LANGUAGE plpgsql AS $$ BEGIN {} RETURN 7; END $$"
    beside.execute(create.format("PERFORM pg_terminate_backend(pg_backend_pid());").encode())
    db.observe(lambda fact: None if not isinstance(fact, Retried) else revive())

    def revive() -> None:
        beside.execute(create.format("").encode())

    assert db.call(lambda database: database.gather(*[select(func.die())] * 3)) == ([7], [7], [7])


def test_it_keeps_to_the_deadline(db: Door) -> None:
    began = time.monotonic()
    with db.deadline("300ms"), pytest.raises(DeadlineExceeded):
        db.call(lambda database: database.gather(*[slow(10)] * 3))
    assert time.monotonic() - began < 1.5


def test_a_unit_around_it_is_not_joined(dal_database: URL, beside: Beside) -> None:
    with Database(dal_database) as db, db.transaction() as session:
        session.execute(text("UPDATE stock SET amount = 0 WHERE id = 1"))
        assert db.gather(select(Stock.amount).where(Stock.id == 1)) == ([10],)


def test_nothing_and_nonsense(db: Door) -> None:
    assert db.call(lambda database: database.gather()) == ()
    with pytest.raises(UsageError, match="TextClause"):
        db.call(lambda database: database.gather(text("SELECT 1")))


@pytest.mark.parametrize("door", DOORS)
def test_sqlite(door: str, tmp_path: Any) -> None:
    with open_door(door, URL.create("sqlite", database=str(tmp_path / "shop.db"))) as db:
        db.run(lambda session: Base.metadata.create_all(session.connection()))
        db.run(lambda session: session.add(Stock(id=1, amount=3)))
        stocks, counted = db.call(lambda database: database.gather(select(Stock), select(func.count()).select_from(Move)))
    assert [stock.amount for stock in stocks] == [3]
    assert counted == [0]

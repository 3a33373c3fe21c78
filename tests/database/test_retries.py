"""Units of work meet real faults: killed backends, deadlocks, serialization failures, locks."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, IntegrityError, InternalError, OperationalError
from sqlalchemy.orm import Session

from dal import AsyncDatabase, Database, PoolConfig, UsageError
from dal.events import Retried
from dal.testing import count_statements
from tests.database.doors import DOORS, Door, open_door

Beside = psycopg.Connection[Any]


def take(session: Session, amount: int = 1) -> int:
    session.execute(text("UPDATE stock SET amount = amount - :n WHERE id = 1"), {"n": amount})
    return session.scalar(text("SELECT amount FROM stock WHERE id = 1")) or 0


def killed(session: Session, beside: Beside) -> None:
    beside.execute("SELECT pg_terminate_backend(%s)", [session.scalar(text("SELECT pg_backend_pid()"))])


def amount(beside: Beside) -> int:
    row = beside.execute("SELECT amount FROM stock WHERE id = 1").fetchone()
    assert row is not None
    return int(row[0])


def test_a_killed_backend_is_not_noticed(db: Door, beside: Beside) -> None:
    tries: list[Session] = []
    facts: list[object] = []

    def work(session: Session) -> int:
        tries.append(session)
        take(session)
        if len(tries) == 1:
            killed(session, beside)
        return take(session)

    db.observe(facts.append)
    assert db.run(work) == 8
    assert amount(beside) == 8
    assert len({id(session) for session in tries}) == len(tries) == 2
    assert [fact.again for fact in facts if isinstance(fact, Retried)] == [1]


@pytest.mark.parametrize("when", ["statement", "commit"])
def test_a_socket_that_is_closed_in_the_middle_of_a_command(
    dal_database: URL, beside: Beside, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Seen after a crash: psycopg says so when it waits, and still calls the connection open."""
    stock: Any = psycopg.Connection.wait
    faults: list[int] = []

    def wait(self: Any, steps: Any, *arguments: Any, **options: Any) -> Any:
        if faults and faults.pop():
            next(steps)
            raise psycopg.OperationalError("connection socket closed")
        return stock(self, steps, *arguments, **options)

    def work(session: Session) -> int:
        tries.append(1)
        taken = take(session)
        if len(tries) == 1:
            # Before COMMIT comes the question for the transaction's id, which goes through.
            faults.extend([1] if when == "statement" else [1, 0])
        return taken if when == "commit" else take(session)

    tries: list[int] = []
    with Database(dal_database, pool=PoolConfig(min_pool_size=1, max_pool_size=2, retry_delay="20ms")) as db:
        db.run(lambda session: session.scalar(text("SELECT 1")))
        monkeypatch.setattr(psycopg.Connection, "wait", wait)
        db.run(work)
        assert not faults
    assert amount(beside) == (8 if when == "statement" else 9)
    assert db.pool.stats().in_use == 0


def test_the_outermost_unit_is_what_is_run_again(db: Door, beside: Beside) -> None:
    outer: list[int] = []

    def inner(session: Session) -> None:
        if len(outer) == 1:
            killed(session, beside)
        take(session)

    def work_sync(session: Session, database: Database) -> None:
        outer.append(1)
        take(session)
        database.run(inner)

    async def work_async(session: Any, database: AsyncDatabase) -> None:
        outer.append(1)
        await session.run_sync(take)
        await database.run(lambda joined: joined.run_sync(inner))

    db.call(lambda database: database.run(work_sync if isinstance(database, Database) else work_async, database))
    assert outer == [1, 1]
    assert amount(beside) == 8


def test_a_decorated_function_is_run_again(db: Door, beside: Beside) -> None:
    tries: list[int] = []

    def work(session: Session) -> int:
        tries.append(1)
        if len(tries) == 1:
            killed(session, beside)
        return take(session, 3)

    def call(database: Any) -> Any:
        if isinstance(database, Database):
            return database.transactional(isolation="SERIALIZABLE")(work)()
        return database.transactional(isolation="SERIALIZABLE")(lambda session: session.run_sync(work))()

    assert db.call(call) == 7
    assert len(tries) == 2


def test_what_is_not_transient_is_raised_at_once(db: Door, beside: Beside) -> None:
    tries: list[int] = []

    def work(session: Session) -> None:
        tries.append(1)
        session.execute(text("INSERT INTO stock VALUES (1, 0)"))

    with pytest.raises(IntegrityError):
        db.run(work)
    assert len(tries) == 1


def test_an_error_swallowed_by_the_work_is_not_a_success(db: Door, beside: Beside) -> None:
    # PostgreSQL answers COMMIT of a failed transaction with a quiet ROLLBACK.
    def work(session: Session) -> None:
        take(session)
        with contextlib.suppress(DBAPIError):
            session.execute(text("SELECT 1 / 0"))

    with pytest.raises(InternalError, match="current transaction is aborted"):
        db.run(work)
    assert amount(beside) == 10


def test_a_lock_is_waited_for_again_only_when_asked(db: Door, beside: Beside, dal_database: URL) -> None:
    conninfo = dal_database.set(drivername="postgresql").render_as_string(hide_password=False)
    tries: list[int] = []
    with psycopg.connect(conninfo) as holder:
        holder.execute("SELECT * FROM stock WHERE id = 1 FOR UPDATE")

        def work(session: Session) -> int:
            tries.append(1)
            if len(tries) == 3:
                holder.rollback()
            session.execute(text("SELECT * FROM stock WHERE id = 1 FOR UPDATE NOWAIT"))
            return len(tries)

        with pytest.raises(OperationalError, match="could not obtain lock"):
            db.run(work)
        assert len(tries) == 1
        assert db.run(work, retry_on=["55P03"]) == 3


@pytest.mark.parametrize("wrong", ["55P03", ["55p03"], [7], ["lost"]])
def test_what_is_no_sqlstate(db: Door, wrong: Any) -> None:
    with pytest.raises(UsageError, match="retry_on"):
        db.run(take, retry_on=wrong)


@pytest.mark.parametrize("isolation", ["SERIALIZABLE", "REPEATABLE READ"])
def test_threads_that_get_in_each_others_way_all_succeed(dal_database: URL, beside: Beside, isolation: Any) -> None:
    with Database(dal_database, pool=PoolConfig(min_pool_size=4, max_pool_size=4, retry_attempts=30)) as db:

        def work(session: Session) -> None:
            found = session.scalar(text("SELECT amount FROM stock WHERE id = 1")) or 0
            session.execute(text("UPDATE stock SET amount = :n WHERE id = 1"), {"n": found + 1})

        unit = db.unit(isolation=isolation)
        with ThreadPoolExecutor(4) as threads:
            for _ in threads.map(lambda _: [unit.run(work) for _ in range(5)], range(4)):
                pass
    assert amount(beside) == 30


def test_tasks_that_get_in_each_others_way_all_succeed(dal_database: URL, beside: Beside) -> None:
    async def main() -> None:
        async with AsyncDatabase(dal_database, pool=PoolConfig(min_pool_size=4, max_pool_size=4, retry_attempts=30)) as db:

            def work(session: Session) -> None:
                found = session.scalar(text("SELECT amount FROM stock WHERE id = 1")) or 0
                session.execute(text("UPDATE stock SET amount = :n WHERE id = 1"), {"n": found + 1})

            unit = db.unit(isolation="SERIALIZABLE")
            await asyncio.gather(*(unit.run(lambda session: session.run_sync(work)) for _ in range(20)))

    asyncio.run(main())
    assert amount(beside) == 30


def test_a_deadlock_is_resolved(dal_database: URL, beside: Beside) -> None:
    meeting = threading.Barrier(2, timeout=10)
    tries: list[int] = []

    def work(session: Session, first: int, second: int) -> None:
        tries.append(first)
        session.execute(text("UPDATE stock SET amount = amount - 1 WHERE id = :id"), {"id": first})
        if len(tries) <= 2:
            meeting.wait()
        session.execute(text("UPDATE stock SET amount = amount - 1 WHERE id = :id"), {"id": second})

    with Database(dal_database) as db, ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(db.run, work, 1, 2), threads.submit(db.run, work, 2, 1)]:
            done.result(timeout=20)
    assert len(tries) == 3
    assert amount(beside) == 8


def test_a_stale_plan_of_the_first_statement_is_planned_again(db: Door, beside: Beside) -> None:
    def read(session: Session) -> int:
        return len(session.execute(text("SELECT * FROM stock WHERE id = 1")).one())

    assert {db.run(read) for _ in range(8)} == {2}
    beside.execute("ALTER TABLE stock ADD COLUMN colour text")
    assert db.run(read) == 3


@pytest.mark.parametrize("door", DOORS)
def test_a_locked_sqlite_file_is_tried_again(door: str, tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    with sqlite3.connect(file, isolation_level=None, check_same_thread=False) as holder:
        holder.execute("CREATE TABLE stock (id int PRIMARY KEY, amount int NOT NULL)")
        holder.execute("INSERT INTO stock VALUES (1, 10)")
        holder.execute("BEGIN IMMEDIATE")
        url = URL.create("sqlite", database=str(file))
        options = {"engine_options": {"connect_args": {"timeout": 0.01}}}
        with open_door(door, url, pool=PoolConfig(retry_attempts=8), **options) as db:
            db.observe(lambda fact: holder.commit())
            assert db.run(take) == 9
    holder.close()


@pytest.mark.parametrize("observed", [True, False])
def test_an_observer_may_leave(db: Door, beside: Beside, observed: bool) -> None:
    facts: list[object] = []
    end = db.observe(facts.append)
    if not observed:
        end()
        end()
    tries: list[int] = []

    def work(session: Session) -> None:
        tries.append(1)
        if len(tries) == 1:
            killed(session, beside)
        take(session)

    db.run(work)
    assert bool(facts) is observed


def test_what_dal_asks_is_not_counted_against_the_application(db: Door, beside: Beside) -> None:
    def work(session: Session) -> int:
        with count_statements(session.connection()) as seen:
            take(session)
        return seen.count

    assert db.run(work, deadline="5s") == 2


def test_a_read_only_unit_leaves_no_mode_behind(opened: Callable[..., Door], beside: Beside) -> None:
    db = opened(pool=PoolConfig(min_pool_size=1, max_pool_size=1, retry_attempts=0))
    assert db.run(lambda session: session.scalar(text("SELECT 1")), read_only=True) == 1
    db.run(lambda session: session.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")))
    with pytest.raises(InternalError, match="read-only transaction"):
        db.run(take)

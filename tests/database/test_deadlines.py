"""Deadlines: waiting, connecting, pauses and the server's work end in time, and the error says where the time went."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from dal import ConfigError, Database, DeadlineExceeded, PoolConfig
from dal.deadlines import Deadline, current, limit
from tests.database.doors import Door

Beside = psycopg.Connection[Any]


@contextmanager
def taking(seconds: float, *, at_most: float = 1.0) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert seconds - 0.05 <= time.monotonic() - began <= seconds + at_most


def sleep(seconds: float) -> Callable[[Session], None]:
    def work(session: Session) -> None:
        session.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})

    return work


def timeout_there(session: Session) -> float:
    found = session.scalar(text("SELECT extract(epoch FROM current_setting('statement_timeout')::interval)"))
    return float(found or 0)


def test_the_server_stops(db: Door) -> None:
    with (
        taking(0.3),
        pytest.raises(DeadlineExceeded, match=r"stopped the statement: .*0\.\d+ s in statements") as caught,
    ):
        db.run(sleep(10), deadline="300ms")
    assert "pg_sleep" in caught.value.hint


def test_a_block_stops_plain_sessions_too(db: Door) -> None:
    with taking(0.3), db.deadline("300ms"), pytest.raises(DeadlineExceeded):
        db.session(sleep(10))


def test_several_statements_share_it(db: Door) -> None:
    def work(session: Session) -> None:
        for _ in range(100):
            sleep(0.1)(session)

    with taking(0.5), pytest.raises(DeadlineExceeded):
        db.run(work, deadline="500ms")


def test_the_connection_is_as_good_as_before(db: Door) -> None:
    def work(session: Session) -> tuple[int, float]:
        return session.scalar(text("SELECT pg_backend_pid()")) or 0, timeout_there(session)

    pid, without = db.run(work)
    assert without == 0
    with pytest.raises(DeadlineExceeded):
        db.run(sleep(10), deadline="100ms")
    assert db.run(work) == (pid, 0)


def test_the_server_is_told_what_is_left(db: Door) -> None:
    def work(session: Session) -> tuple[float, float]:
        first = timeout_there(session)
        time.sleep(0.4)
        return first, timeout_there(session)

    first, second = db.run(work, deadline=2)
    assert 1.5 <= first <= 2.0
    assert second <= first - 0.35


def test_a_shorter_timeout_of_the_application_stays(db: Door) -> None:
    def work(session: Session) -> float:
        session.execute(text("SELECT 1"))
        return timeout_there(session)

    def narrow(session: Session) -> float:
        session.execute(text("SET LOCAL statement_timeout = '700ms'"))
        with db.deadline("10s"):
            return work(session)

    assert db.run(narrow) == 0.7


def test_an_inner_block_ends_with_its_block(db: Door) -> None:
    def work(session: Session) -> tuple[float, float, float]:
        with db.deadline("20s"):
            outer = timeout_there(session)
            with db.deadline("5s"):
                inner = timeout_there(session)
            after = timeout_there(session)
        assert timeout_there(session) == 0
        return outer, inner, after

    outer, inner, after = db.run(work)
    assert inner <= 5 < 19 <= after <= outer <= 20


def test_a_rolled_back_savepoint_does_not_take_it_along(db: Door) -> None:
    def work(session: Session) -> float:
        savepoint = session.begin_nested()
        assert timeout_there(session) > 0
        savepoint.rollback()
        return timeout_there(session)

    assert 0 < db.run(work, deadline="5s") <= 5


def test_an_inner_one_only_shortens() -> None:
    with limit("1s") as outer, limit("10s") as inner:
        assert inner is outer
        with limit("100ms") as shorter:
            assert shorter is current()
            assert shorter is not outer
    assert current() is None


def test_waiting_for_a_connection(opened: Callable[..., Door], dal_database: URL) -> None:
    with Database(dal_database, pool=PoolConfig(min_pool_size=0, max_pool_size=1)) as db, db.session() as held:
        held.execute(text("SELECT 1"))
        caught: list[DeadlineExceeded] = []

        def wait() -> None:
            with taking(0.3), pytest.raises(DeadlineExceeded, match=r"0\.\d+ s waiting for a connection") as error:
                db.unit(deadline="300ms").run(sleep(0))
            caught.append(error.value)

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(10)
        assert "max_pool_size" in caught[0].hint


def test_a_server_that_is_not_there(opened: Callable[..., Door], dal_database: URL) -> None:
    nowhere = URL.create("postgresql+psycopg", "app", "secret", "127.0.0.1", 1, "shop")
    db = opened(nowhere)
    with taking(0.3), pytest.raises(DeadlineExceeded, match="waiting for a connection"):
        db.run(sleep(0), deadline="300ms")


def test_pauses_between_tries(opened: Callable[..., Door], beside: Beside) -> None:
    db = opened(pool=PoolConfig(min_pool_size=0, max_pool_size=2, retry_attempts=50, retry_delay="100ms"))

    def work(session: Session) -> None:
        beside.execute("SELECT pg_terminate_backend(%s)", [session.scalar(text("SELECT pg_backend_pid()"))])
        session.execute(text("SELECT 1"))

    with taking(0.3, at_most=0.8), pytest.raises(DeadlineExceeded, match="between tries") as caught:
        db.run(work, deadline="1s")
    assert isinstance(caught.value.__cause__, OperationalError)


def test_nothing_is_committed_late(db: Door, beside: Beside) -> None:
    def work(session: Session) -> None:
        session.execute(text("UPDATE stock SET amount = 0 WHERE id = 1"))
        time.sleep(0.3)

    with pytest.raises(DeadlineExceeded, match=r"COMMIT was not sent: .* elsewhere in the application"):
        db.run(work, deadline="200ms")
    assert beside.execute("SELECT amount FROM stock WHERE id = 1").fetchone() == (10,)


def test_a_timeout_of_the_application_is_its_own(db: Door) -> None:
    def work(session: Session) -> None:
        session.execute(text("SET LOCAL statement_timeout = '50ms'"))
        sleep(5)(session)

    with pytest.raises(OperationalError, match="statement timeout"):
        db.run(work, deadline="10s")


@pytest.mark.parametrize("wrong", ["soon", -1, "2 hours", True])
def test_what_is_no_duration(db: Door, wrong: Any) -> None:
    with pytest.raises(ConfigError, match="deadline"):
        db.run(sleep(0), deadline=wrong)
    with pytest.raises(ConfigError, match="deadline"):
        db.deadline(wrong)


def test_the_parts_add_up() -> None:
    deadline = Deadline(0.01)
    deadline.note("in statements", 0.002)
    time.sleep(0.02)
    text_of_it = str(deadline.exceeded("a statement was not sent"))
    assert "the deadline of 0.01 s is over; a statement was not sent: 0.002 s in statements, 0.0" in text_of_it


def test_sqlite_checks_between_statements() -> None:
    with Database("sqlite://") as db, db.deadline("50ms"), db.session() as session:
        session.execute(text("SELECT 1"))
        time.sleep(0.06)
        with pytest.raises(DeadlineExceeded, match="a statement was not sent"):
            session.execute(text("SELECT 1"))

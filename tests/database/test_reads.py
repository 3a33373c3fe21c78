"""Single reads outside a transaction meet a dead connection: they are run again, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from dal import PoolConfig
from dal.events import Retried
from tests.database.doors import Door

Beside = psycopg.Connection[Any]


class Base(DeclarativeBase):
    pass


class Stock(Base):
    __tablename__ = "stock"
    id: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[int]


class Missing(Base):
    __tablename__ = "missing"
    id: Mapped[int] = mapped_column(primary_key=True)


def ending(beside: Beside, times: int = 1) -> Any:
    """A condition that ends the backend that evaluates it, so many times."""
    beside.execute(f"CREATE SEQUENCE deaths MAXVALUE {times + 100}")
    beside.execute(f"""
        CREATE FUNCTION die() RETURNS bool LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('deaths') <= {times} THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
            RETURN true;
        END $$""")
    return text("die()")


def test_the_first_select_is_run_again(db: Door, beside: Beside) -> None:
    facts: list[object] = []
    db.observe(facts.append)
    statement = select(Stock).where(ending(beside), Stock.id == 1)
    assert db.session(lambda session: session.scalars(statement).one().amount) == 10
    assert len([fact for fact in facts if isinstance(fact, Retried)]) == 1


def test_as_often_as_it_says(opened: Callable[..., Door], beside: Beside) -> None:
    db = opened(pool=PoolConfig(min_pool_size=0, max_pool_size=2, retry_attempts=2, retry_delay="10ms"))
    statement = select(Stock.amount).where(ending(beside, times=3), Stock.id == 1)
    with pytest.raises(OperationalError, match="terminating connection"):
        db.session(lambda session: session.scalar(statement))
    assert db.session(lambda session: session.scalar(statement)) == 10


def test_the_session_is_usable_afterwards(db: Door, beside: Beside) -> None:
    statement = select(Stock).where(ending(beside), Stock.id == 1)

    def work(session: Session) -> int:
        stock = session.scalars(statement).one()
        stock.amount = 7
        session.commit()
        return stock.amount

    assert db.session(work) == 7
    assert beside.execute("SELECT amount FROM stock WHERE id = 1").fetchone() == (7,)


def refused(db: Door, work: Callable[[Session], Any]) -> None:
    facts: list[object] = []
    db.observe(facts.append)
    with pytest.raises(OperationalError, match="terminating connection"):
        db.session(work)
    assert not [fact for fact in facts if isinstance(fact, Retried)]


def test_a_second_statement_is_not(db: Door, beside: Beside) -> None:
    condition = ending(beside)

    def work(session: Session) -> None:
        session.scalars(select(Stock)).all()
        session.scalars(select(Stock).where(condition)).all()

    refused(db, work)


def test_what_is_pending_is_not_lost_in_silence(db: Door, beside: Beside) -> None:
    condition = ending(beside)

    def work(session: Session) -> None:
        session.add(Stock(id=3, amount=1))
        session.scalars(select(Stock).where(condition)).all()

    refused(db, work)


def test_what_writes_is_not(db: Door, beside: Beside) -> None:
    condition = ending(beside)
    refused(db, lambda session: session.execute(text("UPDATE stock SET amount = 0 WHERE die()")) and condition)


def test_objects_that_shall_not_expire_do_not(opened: Callable[..., Door], beside: Beside) -> None:
    db = opened(session_options={"expire_on_commit": False})
    condition = ending(beside)
    kept: list[Stock] = []

    def work(session: Session) -> None:
        kept.append(session.get_one(Stock, 1))
        session.commit()
        session.scalars(select(Stock).where(condition)).all()

    refused(db, work)
    assert kept[0].amount == 10


def test_none_is_none(opened: Callable[..., Door], beside: Beside) -> None:
    db = opened(pool=PoolConfig(min_pool_size=0, max_pool_size=2, retry_attempts=0))
    statement = select(Stock).where(ending(beside))
    refused(db, lambda session: session.scalars(statement).all())


def test_a_wrong_statement_fails_at_once_and_its_transaction_is_still_there(db: Door, beside: Beside) -> None:
    def work(session: Session) -> bool:
        with pytest.raises(ProgrammingError, match="missing"):
            session.scalars(select(Missing)).all()
        return session.in_transaction()

    assert db.session(work)


def test_in_a_unit_the_whole_unit_is_run_again(db: Door, beside: Beside) -> None:
    condition = ending(beside)
    sessions: list[Session] = []

    def work(session: Session) -> int:
        sessions.append(session)
        return len(session.scalars(select(Stock).where(condition)).all())

    assert db.run(work) == 2
    assert len(sessions) == 2

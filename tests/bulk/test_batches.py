"""BatchWriter: single rows from threads, each told what became of it; on every database."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError, Future
from concurrent.futures import wait as wait_for
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, inspect, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from dal import Batch, BatchWriter, Database, MemoryCache, PoolConfig
from dal.errors import ConfigError, ConnectFailed, NotFound, PoolTimeout, QueueFull, RowConflict, RowError, UsageError
from tests.bulk.models import Base, City, Engineer, Mood, Seat, User, Versioned


@pytest.fixture(params=["postgresql", "sqlite", "mariadb"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def count(db: Database, entity: Any) -> int:
    with db.session() as session:
        return session.scalar(select(func.count()).select_from(entity)) or 0


def test_each_item_gets_its_row_with_ids_and_defaults(db: Database) -> None:
    with BatchWriter(db, User, interval=0.5) as writer:
        futures = [writer.submit(User(email=f"{n}@b", age=n, settings={"n": [n]})) for n in range(20)]
        rows = [future.result(30) for future in futures]
    assert [row.email for row in rows] == [f"{n}@b" for n in range(20)]
    assert len({row.id for row in rows}) == 20
    for n, row in enumerate(rows):
        assert (row.mood, row.balance, row.plan, row.settings) == (Mood.glad, Decimal(7), "free", {"n": [n]})
        assert row.double == 2 * n
        assert inspect(row).detached
    with db.session() as session:
        assert {user.email: user.id for user in session.scalars(select(User))} == {row.email: row.id for row in rows}


def test_the_row_is_the_object_that_was_submitted(db: Database) -> None:
    with BatchWriter(db, City, interval=0.5) as writer:
        oslo = City(name="Oslo")
        assert writer.submit(oslo).result(30) is oslo
        assert oslo.id is not None
        bergen: Any = writer.submit({"name": "Bergen"}).result(30)  # type: ignore[arg-type]
        assert (type(bergen), bergen.name) == (City, "Bergen")
    with db.transaction() as session:
        session.add(oslo)
        oslo.name = "Christiania"
    with db.session() as session:
        assert set(session.scalars(select(City.name))) == {"Christiania", "Bergen"}


def test_an_item_gets_its_own_error_and_the_others_are_written(db: Database) -> None:
    with BatchWriter(db, User, size=50, interval=30) as writer:
        writer.submit(User(email="taken@b")).result(30)
        futures = [writer.submit(User(email="taken@b" if n in {3, 17} else f"{n}@b", age=n)) for n in range(30)]
        errors = [future.exception(30) for future in futures]
    assert [n for n, error in enumerate(errors) if error is not None] == [3, 17]
    assert isinstance(errors[3], IntegrityError)
    assert isinstance(errors[3], RowConflict)
    assert errors[3].hint
    assert count(db, User) == 29
    assert writer.stats().failed == 2


def test_the_error_of_an_item_is_about_that_item(pg: Database) -> None:
    with BatchWriter(pg, User, interval=30) as writer:
        taken = writer.submit(User(email="taken@b"))
        futures = [
            writer.submit(User(email="taken@b")),
            writer.submit(User(email=None)),
            writer.submit(User(email="nul@b", plan="a\0b")),
            writer.upsert(User(email="a@b", age=1), key=[User.age]),
        ]
        conflict, missing, nul, keyless = (future.exception(30) for future in futures)
        assert taken.result(30).id
    assert isinstance(conflict, RowConflict)
    assert str(conflict).startswith("the item was refused: User.email = 'taken@b': duplicate key value violates")
    assert (conflict.column, conflict.value, conflict.sqlstate, conflict.row.email) == ("email", "taken@b", "23505", "taken@b")
    assert isinstance(missing, RowConflict)
    assert (missing.column, missing.value, missing.sqlstate) == ("email", None, "23502")
    assert isinstance(nul, RowError)
    assert "invalid byte sequence" in str(nul)
    assert isinstance(keyless, UsageError)
    assert "User has no unique key of age" in str(keyless)


def test_a_value_that_is_none_of_its_columns_is_that_items_error(pg: Database) -> None:
    with BatchWriter(pg, User, interval=30) as writer:
        futures = [writer.submit(User(email=f"{n}@b", age="old" if n == 2 else n)) for n in range(5)]
        wrong = writer.submit({"email": "x@b", "height": 2})  # type: ignore[arg-type]
        assert [future.exception(30) is None for future in futures] == [True, True, False, True, True]
        assert str(futures[2].exception(30)).startswith("the item was refused: User.age = 'old': ")
        assert isinstance(wrong.exception(30), UsageError)
    assert count(pg, User) == 4


def test_what_is_submitted_first_is_written_first(db: Database) -> None:
    with BatchWriter(db, Seat, size=100, interval=30) as writer:
        made = writer.submit(Seat(row=1, place="a"))
        taken = writer.update(Seat(row=1, place="a", taken=True))
        gone = writer.delete(Seat(row=1, place="a"))
        again = writer.upsert(Seat(row=1, place="a", taken=False), key=[Seat.row, Seat.place])
        over = writer.upsert(Seat(row=1, place="a", taken=True), key=["row", "place"])
        rows = [future.result(30) for future in (made, taken, gone, again, over)]
    assert [row.taken for row in rows] == [False, True, True, False, True]
    assert writer.stats().batches == 1
    with db.session() as session:
        assert session.get_one(Seat, (1, "a")).taken is True


def test_a_row_that_is_not_there_is_told(db: Database) -> None:
    with BatchWriter(db, City, interval=30) as writer:
        missing = writer.update(City(id=7, name="Atlantis")).exception(30)
        assert isinstance(missing, NotFound)
        assert "there is no City with id = 7 to update" in str(missing)
        assert isinstance(writer.delete(City(id=7)).exception(30), NotFound)
        kept = writer.submit(City(name="Oslo")).result(30)
        assert writer.delete(kept).result(30).name == "Oslo"
    assert count(db, City) == 0


def test_an_update_writes_what_is_set(db: Database) -> None:
    with BatchWriter(db, User, interval=30) as writer:
        user = writer.submit(User(email="a@b", age=3, plan="paid")).result(30)
        changed = writer.update({"email": "a@b", "age": 4}, key=[User.email]).result(30)  # type: ignore[arg-type]
        assert (changed.id, changed.age, changed.plan, changed.double) == (user.id, 4, "paid", 8)
        user.plan = "free"
        user.age = 5
        assert writer.update(user).result(30) is user
    with db.session() as session:
        assert session.execute(select(User.age, User.plan)).one() == (5, "free")


def test_versions_are_counted(db: Database) -> None:
    with BatchWriter(db, Versioned, interval=30) as writer:
        made = writer.submit(Versioned(name="a")).result(30)
        assert made.version == 1
        assert writer.update({"id": made.id, "name": "b"}).result(30).version == 2  # type: ignore[arg-type]


def test_joined_inheritance(db: Database) -> None:
    with BatchWriter(db, Engineer, interval=30) as writer:
        futures = [writer.submit(Engineer(name=f"n{n}", language="Python")) for n in range(3)]
        rows = [future.result(30) for future in futures]
        assert [row.kind for row in rows] == ["engineer"] * 3
        assert writer.delete(rows[0]).result(30).language == "Python"
    assert count(db, Engineer) == 2


def test_it_waits_for_nobody_when_all_wait(pg: Database) -> None:
    batches: list[Batch] = []
    began = time.monotonic()
    with BatchWriter(pg, City, size=1000, interval=600, on_batch=batches.append) as writer:

        def work(worker: int) -> None:
            for n in range(10):
                writer.submit(City(name=f"{worker} {n}")).result(60)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert count(pg, City) == 40
    assert {batch.reason for batch in batches} == {"waiting"}
    assert time.monotonic() - began < 60


def test_it_waits_for_the_interval_when_told_to(pg: Database) -> None:
    with BatchWriter(pg, City, size=1000, interval="100ms", flush_when_waiting=False) as writer:
        began = time.monotonic()
        writer.submit(City(name="Oslo")).result(60)
        assert time.monotonic() - began >= 0.1
    reasons: list[str] = []
    with BatchWriter(pg, City, size=2, interval=600, on_batch=lambda batch: reasons.append(batch.reason)) as writer:
        futures: list[Future[City]] = [writer.submit(City(name=f"{n}")) for n in range(4)]
        assert not wait_for(futures, 60).not_done
    assert reasons == ["size", "size"]


def test_flush_and_close_write_everything(pg: Database) -> None:
    writer = BatchWriter(pg, City, interval=600)
    one = writer.submit(City(name="Oslo"))
    writer.flush(60)
    assert one.done()
    two = writer.submit(City(name="Bergen"))
    writer.close(60)
    assert two.done()
    writer.close()
    with pytest.raises(UsageError, match="closed"):
        writer.submit(City(name="Tromsø"))
    assert count(pg, City) == 2


def test_an_error_in_the_block_does_not_lose_what_was_submitted(pg: Database) -> None:
    with pytest.raises(ZeroDivisionError), BatchWriter(pg, City, interval=600) as writer:
        writer.submit(City(name="Oslo"))
        raise ZeroDivisionError
    assert count(pg, City) == 1


class Held:
    """A database whose units wait until they are let go."""

    def __init__(self, db: Database) -> None:
        self._db, self.go = db, threading.Event()

    def unit(self) -> Any:
        assert self.go.wait(60)
        return self._db.unit()


def test_a_full_queue_raises_or_drops(pg: Database) -> None:
    held = Held(pg)
    with BatchWriter(held, City, size=1, capacity=2, full="raise") as writer:
        for n in range(2):
            writer.submit(City(name=f"{n}"))
        with pytest.raises(QueueFull, match="2 items are on their way"):
            writer.submit(City(name="2"))
        held.go.set()
    held = Held(pg)
    with BatchWriter(held, City, size=1, capacity=2, full="drop") as writer:
        futures = [writer.submit(City(name=f"d{n}")) for n in range(5)]
        held.go.set()
        assert [isinstance(future.exception(60), QueueFull) for future in futures] == [False, False, True, True, True]
        assert writer.stats().dropped == 3
    assert count(pg, City) == 4


def test_a_full_queue_holds_back(pg: Database) -> None:
    held = Held(pg)
    with BatchWriter(held, City, size=2, capacity=2, interval=600) as writer:

        def work() -> None:
            for n in range(6):
                writer.submit(City(name=f"{n}"))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        assert writer.stats().waiting == 2
        held.go.set()
        thread.join(60)
        assert not thread.is_alive()
    assert count(pg, City) == 6


def test_what_was_cancelled_in_time_is_not_written(pg: Database) -> None:
    with BatchWriter(pg, City, interval=600) as writer:
        kept, dropped = writer.submit(City(name="Oslo")), writer.submit(City(name="Bergen"))
        assert dropped.cancel()
        assert kept.result(60).name == "Oslo"
        with pytest.raises(CancelledError):
            dropped.result()
        assert not kept.cancel()
    assert count(pg, City) == 1
    assert writer.stats().cancelled == 1


def test_a_result_that_does_not_come_in_time(pg: Database) -> None:
    held = Held(pg)
    with BatchWriter(held, City) as writer:
        future = writer.submit(City(name="Oslo"))
        with pytest.raises(TimeoutError):
            future.result(0.05)
        with pytest.raises(TimeoutError):
            writer.flush(0.05)
        with pytest.raises(TimeoutError):
            writer.close(0.05)
        held.go.set()
        assert future.result(60).name == "Oslo"


def test_a_deferred_constraint_is_an_items_error(pg: Database) -> None:
    with pg.transaction() as session:
        session.execute(text("ALTER TABLE cities DROP CONSTRAINT cities_name_key"))
        session.execute(text("ALTER TABLE cities ADD CONSTRAINT later UNIQUE (name) DEFERRABLE INITIALLY DEFERRED"))
    with BatchWriter(pg, City, interval=600) as writer:
        futures = [writer.submit(City(name=name)) for name in ("Oslo", "Bergen", "Oslo", "Tromsø")]
        assert [future.exception(60) is None for future in futures] == [True, True, False, True]
    assert count(pg, City) == 3


def test_a_server_that_cannot_be_reached_fails_the_batch() -> None:
    pool = PoolConfig(min_pool_size=0, connection_timeout="200ms", retry_attempts=0)
    with Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing", pool=pool) as db, BatchWriter(db, City) as writer:
        futures = [writer.submit(City(name=f"{n}")) for n in range(3)]
        errors = [future.exception(60) for future in futures]
        assert all(isinstance(error, (PoolTimeout, ConnectFailed)) for error in errors), errors


def test_a_session_around_it_is_none_of_its_business(pg: Database) -> None:
    """What is submitted in a unit of work is committed by the writer, whatever becomes of the unit."""
    with BatchWriter(pg, City, interval=600) as writer:

        def work(session: Session) -> None:
            writer.submit(City(name="Oslo")).result(60)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            pg.run(work)
        writer.submit(City(name="Bergen")).result(60)
    assert count(pg, City) == 2


def test_an_observer_that_fails_hurts_nobody(pg: Database, caplog: pytest.LogCaptureFixture) -> None:
    def fail(batch: Batch) -> None:
        raise ZeroDivisionError

    with BatchWriter(pg, City, interval=600, on_batch=fail) as writer:
        writer.submit(City(name="Oslo")).result(60)
        writer.submit(City(name="Bergen")).result(60)
    assert "on_batch failed" in caplog.text


def test_bad_input_is_told_before_harm(pg: Database) -> None:
    for settings in ({"size": 0}, {"interval": "never"}, {"interval": 0}, {"capacity": 5}, {"full": "explode"}):
        with pytest.raises(ConfigError):
            BatchWriter(pg, City, **settings)
    with pytest.raises(UsageError, match="not mapped"):
        BatchWriter(pg, int)
    with BatchWriter(pg, User) as writer:
        with pytest.raises(UsageError, match="no User and no dict"):
            writer.submit(City(name="Oslo"))  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="without email"):
            writer.upsert(User(age=3), key=[User.email])
        with pytest.raises(UsageError, match="not a column of User"):
            writer.upsert(User(email="a@b"), key=["height"])
        with pytest.raises(UsageError, match="without id"):
            writer.delete(User(email="a@b"))
        known = writer.submit(User(email="a@b")).result(60)
        with pytest.raises(UsageError, match="in the database already"):
            writer.submit(known)
        with pg.session() as session:
            session.add(known)
            with pytest.raises(UsageError, match="belongs to a session"):
                writer.update(known)


def test_a_database_that_is_closed_first_fails_the_batch(dal_database: URL) -> None:
    db = Database(dal_database)
    Base.metadata.create_all(db.engine)
    with BatchWriter(db, City, interval=600) as writer:
        assert writer.submit(City(name="Oslo")).result(60).id == 1
        db.close()
        assert isinstance(writer.submit(City(name="Bergen")).exception(60), Exception)


def test_an_object_that_cannot_be_filled_is_told(pg: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any) -> None:
        raise ZeroDivisionError

    with BatchWriter(pg, City, interval=600) as writer:
        monkeypatch.setattr(writer._operations, "row", fail)
        error = writer.submit(City(name="Oslo")).exception(60)
        assert isinstance(error, ZeroDivisionError)
        assert "is written" in error.__notes__[0]
    assert count(pg, City) == 1


def test_a_cache_is_told(dal_database: URL) -> None:
    with Database(dal_database, cache=MemoryCache(max_bytes=1_000_000)) as db:
        Base.metadata.create_all(db.engine)

        def names() -> Any:
            return db.cache.fetch("names", lambda session: list(session.scalars(select(City.name))))

        assert names() == []
        with BatchWriter(db, City, interval=600) as writer:
            writer.submit(City(name="Oslo")).result(60)
        assert names() == ["Oslo"]


def test_errors_are_those_of_the_driver(pg: Database) -> None:
    with BatchWriter(pg, User, interval=600) as writer:
        error = writer.submit(User(email="a@b", age=300)).exception(60)
    assert isinstance(error, DBAPIError)
    assert getattr(error.orig, "sqlstate", None) == "23514"

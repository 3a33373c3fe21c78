"""What the server, the role or a table cannot give is told before anything is made, with the line to write."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, select, text
from sqlalchemy.engine import URL
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, registry

from dal import Database, ReplicationError, SlotLost, UnsupportedError, UsageError
from dal.embedded import EmbeddedServer
from dal.streams.server import parameters
from dal.streams.waiting import ThreadWaiting
from dal.streams.wire import connect
from tests.streams.conftest import POOL, take, told, until
from tests.streams.models import Base, Cat, Dog, Order

DROP = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE '%dropped'"
MANY = "INSERT INTO animals (kind, name) SELECT 'animal', repeat('x', 200) FROM generate_series(1, 20000)"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server with two slots, and little patience for a stream that stays behind."""
    settings = {
        "wal_level": "logical",
        "max_replication_slots": "2",
        "max_wal_senders": "3",
        "max_slot_wal_keep_size": "2MB",
        "synchronous_commit": "on",
    }
    with EmbeddedServer(tmp_path_factory.mktemp("small") / "data", settings=settings) as server:
        yield server


def made(url: URL) -> Database:
    db = Database(url, pool=POOL)
    Base.metadata.create_all(db.engine)
    return db


def test_a_server_that_does_not_log_changes(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "data") as server, made(server.url()) as db:
        with pytest.raises(ReplicationError, match="wal_level is replica") as caught:
            db.changes(Order, name="x").create()
        assert "ALTER SYSTEM SET wal_level = logical" in caught.value.hint
        assert "outbox" in caught.value.hint


def test_slots_that_are_used_up_and_one_that_is_lost(small: EmbeddedServer) -> None:
    with made(small.url()) as db:
        first, second, third = (db.changes(Order, name=name) for name in ("first", "second", "third"))
        first.create()
        second.create()
        with pytest.raises(ReplicationError, match="all 2 replication slots") as caught:
            third.create()
        assert "max_replication_slots" in caught.value.hint
        second.drop()
        flow = first.to(lambda items: None)
        assert flow.stop()
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for _ in range(4):
                connection.execute(text(MANY))
                connection.execute(text("SELECT pg_switch_wal()"))
                connection.execute(text("CHECKPOINT"))
        told_of = [problem for problem in db.health().problems if "first" in problem.what]
        assert "lost changes" in told_of[0].what
        assert "dal changes drop first" in told_of[0].fix
        with pytest.raises(SlotLost, match="fell so far behind"):
            first.create()
        first.drop()
        with db.session() as session:
            session.execute(text("TRUNCATE animals"))
            session.commit()


def test_walsenders_that_are_used_up(small: EmbeddedServer) -> None:
    with made(small.url()) as db:
        db.changes(Order, name="waits").create()
        with db.engine.connect() as connection:
            found = parameters(connection)
        others = [connect(found, ThreadWaiting(), seconds=10, replication=True) for _ in range(3)]
        try:
            with pytest.raises(ReplicationError, match="max_wal_senders"):
                take(db, db.changes(Order, name="waits", takeover=0.2), 1)
            with db.transaction() as session:
                session.add(Order(id=1, shop="a", total=1))
            freed = threading.Timer(0.4, others.pop().close)
            freed.start()
            assert told(take(db, db.changes(Order, name="waits", takeover=15), 1)) == [("insert", 1)]
            freed.join()
        finally:
            for other in others:
                other.close()
        db.changes(Order, name="waits").drop()


def test_a_slot_that_somebody_dropped(db: Database) -> None:
    changes = db.changes(Order, name="dropped")
    changes.create()
    changes.create()  # again is nothing
    with db.session() as session:
        session.execute(text(DROP))
        session.commit()
    with pytest.raises(SlotLost, match="its slot was dropped"):
        changes.create()
    changes.drop()
    changes.create()
    changes.drop()


def test_another_consumer_of_the_same_name(db: Database, url: URL) -> None:
    flow = db.changes(Order, name="taken").to(lambda items: None)
    with Database(url, pool=POOL) as other:
        with pytest.raises(ReplicationError, match="read by another consumer") as caught:
            take(other, other.changes(Order, name="taken", takeover=0.2), 1)
        assert "takeover" in caught.value.hint
        with pytest.raises(ReplicationError, match="could not be dropped"):
            other.changes(Order, name="taken", takeover=0.2).drop()
        heir: list[Any] = []
        thread = threading.Thread(target=lambda: heir.append(other.changes(Order, name="taken", takeover=30).to(heir.extend)))
        thread.start()
        assert flow.stop()
        thread.join()
        with other.transaction() as session:
            session.add(Order(id=1, shop="a", total=1))
        until(lambda: len(heir) == 2)
    db.changes(Order, name="taken").drop()


@pytest.fixture
def role(db: Database, url: URL) -> Iterator[URL]:
    """A role that may read and write, and no more."""
    name = f"reader_{url.database}"
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN"))
        connection.execute(text(f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {name}"))
        yield url.set(username=name)
        connection.execute(text(f"DROP OWNED BY {name}"))
        connection.execute(text(f"DROP ROLE {name}"))


def test_a_role_that_may_not(db: Database, role: URL) -> None:
    with Database(role, pool=POOL) as other:
        with pytest.raises(ReplicationError, match="publication dal_rights could not be made") as caught:
            other.changes(Order, name="rights").create()
        assert "CREATE PUBLICATION dal_rights FOR TABLE public.orders" in caught.value.hint
        with db.transaction() as session:
            session.execute(text("CREATE PUBLICATION dba_made FOR TABLE orders"))
        given = other.changes(Order, name="rights", publication="dba_made")
        with pytest.raises(ReplicationError, match="does not let this role stream") as caught:
            given.create()
        assert "REPLICATION" in caught.value.hint
        with pytest.raises(ReplicationError, match="dba_made lacks public.animals"):
            other.changes(Order, Dog, name="rights", publication="dba_made", kinds=["insert"]).create()
        with pytest.raises(ReplicationError, match="no publication nowhere"):
            other.changes(Order, name="rights", publication="nowhere").create()
        with db.transaction() as session:
            session.execute(text(f"ALTER ROLE {role.username} REPLICATION"))
        given.create()
        with other.transaction() as session:
            session.add(Order(id=1, shop="a", total=1))
        assert told(take(other, given, 1)) == [("insert", 1)]
        given.drop()


class Keyless(DeclarativeBase):
    registry = registry()


class Log(Keyless):
    __tablename__ = "log"

    id: Mapped[int] = mapped_column(primary_key=True)
    line: Mapped[str]


def test_a_table_without_a_key(db: Database) -> None:
    with db.transaction() as session:
        session.execute(text("CREATE TABLE log (id int NOT NULL, line text)"))
    with pytest.raises(ReplicationError, match="log has no replica identity") as caught:
        db.changes(Log, name="log").create()
    assert "ALTER TABLE log REPLICA IDENTITY FULL" in caught.value.hint
    inserts = db.changes(Log, name="log", kinds=["insert"])
    inserts.create()
    with db.transaction() as session:
        session.add(Log(id=1, line="a"))
        session.flush()
        session.execute(text("UPDATE log SET line = 'b'"))  # which a published table without identity would refuse
    assert told(take(db, inserts, 1)) == [("insert", 1)]
    inserts.drop()
    with db.transaction() as session:
        session.execute(text("ALTER TABLE log REPLICA IDENTITY FULL"))
    changes = db.changes(Log, name="log")
    changes.create()
    with db.transaction() as session:
        session.execute(text("DELETE FROM log"))
    (gone,) = take(db, changes, 1)
    assert (gone.key, gone.old) == (1, {"id": 1, "line": "b"})
    changes.drop()


def test_identities_that_do_not_tell_enough(db: Database) -> None:
    with pytest.raises(ReplicationError, match="tells only the key") as caught:
        db.changes(Order, name="x", old="full").create()
    assert caught.value.hint == "ALTER TABLE orders REPLICA IDENTITY FULL"
    with pytest.raises(ReplicationError, match="which deleted rows of animals were a Dog"):
        db.changes(Dog, name="x").create()
    with db.transaction() as session:
        session.execute(text("ALTER TABLE orders ALTER total SET NOT NULL"))
        session.execute(text("CREATE UNIQUE INDEX by_total ON orders (total)"))
        session.execute(text("ALTER TABLE orders REPLICA IDENTITY USING INDEX by_total"))
    with pytest.raises(ReplicationError, match="identified by total, not by the mapping's key id"):
        db.changes(Order, name="x").create()
    with db.session() as session:
        assert session.scalar(text("SELECT count(*) FROM pg_publication")) == 0, "nothing was made"


def test_a_transaction_that_holds_up_a_new_slot(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dal.streams.slot_source._MAKE", 0.3)
    with db.session() as session:
        session.add(Order(id=1, shop="a", total=1))
        session.flush()
        with pytest.raises(ReplicationError, match="waits for all transactions") as caught:
            db.changes(Order, name="held").create()
        assert "pg_stat_activity" in caught.value.hint
    db.changes(Order, name="held").create()
    db.changes(Order, name="held").drop()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda db: db.changes(), "of what"),
        (lambda db: db.changes(Order, Order), "twice"),
        (lambda db: db.changes("orders"), "neither a mapped class"),
        (lambda db: db.changes(int), "neither a mapped class"),
        (lambda db: db.changes(Order, name="A-b"), "cannot name a stream"),
        (lambda db: db.changes(Order, name="temporary_1"), "cannot name a stream"),
        (lambda db: db.changes(Order, name=""), "cannot name a stream"),
        (lambda db: db.changes(Order, kinds=["upsert"]), "kinds of changes are"),
        (lambda db: db.changes(Order, kinds=[]), "kinds of changes are"),
        (lambda db: db.changes(Order, old="all"), "old="),
        (lambda db: db.changes(Order).to(3), "is no sink"),
        (lambda db: db.changes(Order).to(print, key=["id"]), "key= is for"),
        (lambda db: db.changes(Order).filter(3), "takes a function"),
        (lambda db: db.changes(Order).batch(size=0), "how many items"),
        (lambda db: db.changes(Order).alert(3), "is no rule"),
        (lambda db: db.changes(Order).window(seconds=1, aggregate={}), "what is computed"),
        (lambda db: db.changes(Order).enrich(print, by="x", size=0), "how many keys"),
    ],
)
def test_what_cannot_be_meant(db: Database, ask: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        ask(db)
    assert caught.value.hint


def test_another_database() -> None:
    with Database("sqlite://") as db, pytest.raises(UnsupportedError, match="need PostgreSQL"):
        db.changes(Order, name="x")


def test_a_table_that_is_not_there(db: Database) -> None:
    nowhere = Table("nowhere", MetaData(), Column("id", Integer, primary_key=True))
    with pytest.raises(ReplicationError, match="nowhere does not exist"):
        db.changes(nowhere, name="x").create()


def test_a_slot_that_nobody_reads_is_told(db: Database) -> None:
    changes = db.changes(Order, Cat, name="unread", kinds=["insert"])
    changes.create()
    found = [problem for problem in db.health().problems if "unread" in problem.what]
    assert "without bound" in found[0].what
    assert "max_slot_wal_keep_size" in found[0].fix
    changes.drop()
    assert not [problem for problem in db.health().problems if "unread" in problem.what]


def test_a_flow_that_failed_is_told(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    def fail(items: list[Any]) -> None:
        raise ValueError("no more")

    changes = db.changes(Order, name="failing")
    flow = changes.to(fail)
    with db.transaction() as session:
        session.add(Order(id=1, shop="a", total=1))
    with pytest.raises(ValueError, match="no more"):
        flow.wait(20)
    assert flow.stats().state == "failed"
    assert "the change stream 'failing' has ended: no more" in [problem.what for problem in db.health().problems]
    assert "has ended" in caplog.text
    seen: list[Any] = []
    again = changes.to(lambda items: seen.extend(each.key for each in items))
    until(lambda: seen == [1])
    assert again.stop()
    changes.drop()
    with db.session() as session:
        assert session.scalar(select(text("1"))) == 1

"""The outbox: what triggers wrote reads as what the log says, wherever wal_level is not logical."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from sqlalchemy import delete, select, text, update

from dal import AsyncDatabase, BulkWriter, Change, Database, UsageError, count_of
from dal.embedded import EmbeddedServer
from tests.streams.conftest import POOL, take, told, until
from tests.streams.consumer import seen
from tests.streams.models import Base, Cat, Counted, Dog, Everything, Manager, Order, Seen
from tests.streams.test_changes import FULL


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server whose log does not tell changes."""
    with EmbeddedServer(tmp_path_factory.mktemp("outbox") / "data", settings={"wal_level": "replica"}) as server:
        yield server


@pytest.fixture
def db(server: EmbeddedServer, request: pytest.FixtureRequest) -> Iterator[Database]:
    name = f"outbox_{abs(hash(request.node.name)) % 10**8}"
    with Database(server.create_database(name), pool=POOL) as db:
        Base.metadata.create_all(db.engine)
        yield db
    server.drop_database(name)


def test_values_are_those_of_a_select(db: Database) -> None:
    changes = db.changes(Everything, name="all", via="outbox")
    changes.create()
    with db.transaction() as session:
        session.execute(text("SET LOCAL timezone = 'Asia/Tokyo'"))
        session.execute(text("SET LOCAL datestyle = 'SQL, DMY'"))
        session.add(Everything(first=1, second="x", **FULL))
        session.flush()
        session.add(Everything(first=2, second="y"))
    first, second = take(db, changes, 2)
    with db.session() as session:
        for change in (first, second):
            row = session.get_one(Everything, change.key)
            assert change.new == {name: getattr(row, name) for name in change.new or ()}
    assert {name: (first.new or {})[name] for name in FULL} == FULL
    assert set(second.new or ()) == {"first", "second", *FULL}
    changes.drop()


def test_many_make_and_drop_it_at_once(db: Database) -> None:
    def make(number: int) -> None:
        changes = db.changes(Order, name=f"reader_{number}", via="outbox")
        changes.create()
        changes.drop()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(make, range(40)))
    with db.session() as session:
        assert session.scalar(text("SELECT to_regclass('dal_outbox')")) is None


def test_old_values_are_whole(db: Database) -> None:
    changes = db.changes(Order, name="old", via="outbox", old="full")
    changes.create()
    with db.transaction() as session:
        session.add(Order(id=1, shop="a", total=5))
        session.flush()
        session.execute(update(Order).values(total=6))
        session.execute(delete(Order))
        session.execute(text("TRUNCATE orders"))
    inserted, changed, deleted, cut = take(db, changes, 4)
    before = {"id": 1, "shop": "a", "total": 5, "paid": False}
    assert (inserted.old, inserted.new) == (None, before)
    assert (changed.old, changed.new) == (before, {**before, "total": 6})
    assert (deleted.old, deleted.new, deleted.key) == ({**before, "total": 6}, None, 1)
    assert (cut.kind, cut.key, cut.old, cut.new) == ("truncate", None, None, None)
    assert inserted.xid == cut.xid
    assert inserted.position < changed.position < deleted.position < cut.position
    changes.drop()


def test_whole_transactions_in_an_order_that_could_have_been(db: Database) -> None:
    """The one that began later commits first; the earlier one then changes the same row: its changes come after."""
    with db.transaction() as session:
        session.add(Order(id=1, shop="a", total=1))
    changes = db.changes(Order, name="order", via="outbox")
    changes.create()
    early, late = db.session(), db.session()
    early.add(Order(id=2, shop="a", total=1))
    early.flush()
    late.execute(update(Order).where(Order.id == 1).values(total=2))
    late.commit()
    early.execute(update(Order).where(Order.id == 1).values(total=3))
    gone = threading.Event()
    read: list[Change] = []

    def consume() -> None:
        read.extend(take(db, changes, 3))
        gone.set()

    thread = threading.Thread(target=consume)
    thread.start()
    assert not gone.wait(0.3)
    early.commit()
    assert gone.wait(20)
    thread.join()
    early.close()
    late.close()
    assert [(each.key, (each.new or {})["total"]) for each in read] == [(1, 2), (2, 1), (1, 3)]
    changes.drop()


def test_it_goes_on_behind_what_was_acknowledged_and_cleans_up(db: Database) -> None:
    first, second = (db.changes(Order, name=name, via="outbox") for name in ("first", "second"))
    first.create()
    second.create()
    for number in (1, 2, 3):
        with db.transaction() as session:
            session.add(Order(id=number, shop="a", total=1))
    assert told(take(db, first, 3)) == [("insert", 1), ("insert", 2), ("insert", 3)]
    assert len(take(db, second, 2, ack=False)) == 2
    with db.transaction() as session:
        session.add(Order(id=4, shop="a", total=1))
    assert told(take(db, first, 1)) == [("insert", 4)]
    assert told(take(db, second, 4)) == [("insert", number) for number in (1, 2, 3, 4)]
    with db.session() as session:
        assert session.scalar(text("SELECT count(*) FROM dal_outbox")) == 0
    first.drop()
    second.drop()
    with db.transaction() as session:
        assert session.scalar(text("SELECT to_regclass('dal_outbox')")) is None
        session.add(Order(id=5, shop="a", total=1))  # no trigger is left


def test_hierarchies(db: Database) -> None:
    changes = db.changes(Manager, Dog, name="kinds", via="outbox")
    changes.create()
    with db.transaction() as session:
        session.add_all([Manager(id=1, name="ada", budget=5), Dog(id=2, name="rex", tricks=1), Cat(id=3, name="tom", lives=9)])
    with db.transaction() as session:
        session.delete(session.get_one(Dog, 2))
        session.delete(session.get_one(Cat, 3))
        session.delete(session.get_one(Manager, 1))
    found = take(db, changes, 4)
    assert {(each.kind, each.key, each.entity) for each in found} == {
        ("insert", 1, Manager), ("insert", 2, Dog), ("delete", 2, Dog), ("delete", 1, Manager),
    }  # fmt: skip
    ada = next(each.new for each in found if each.key == 1 and each.new)
    assert ada == {"id": 1, "name": "ada", "type": "manager", "budget": 5}
    changes.drop()


def test_a_table_that_changed(db: Database) -> None:
    changes = db.changes(Order, name="schema", via="outbox")
    changes.create()
    with db.transaction() as session:
        session.execute(text("INSERT INTO orders VALUES (1, 'a', 1, false)"))
        session.execute(text("ALTER TABLE orders ADD extra int DEFAULT 9"))
        session.execute(text("ALTER TABLE orders ALTER total TYPE numeric"))
        session.execute(text("INSERT INTO orders VALUES (2, 'b', 1.5, false)"))
    found = take(db, changes, 2)
    assert [(each.new or {})["total"] for each in found] == [Decimal(1), Decimal("1.5")]
    with db.transaction() as session:
        session.execute(text("ALTER TABLE orders DROP shop_name"))
        session.execute(text("INSERT INTO orders VALUES (3, 1, false)"))
    assert take(db, changes, 1)[0].new == {"id": 3, "total": 1, "paid": False}
    changes.drop()


def test_flows(db: Database) -> None:
    flow = db.changes(Order, name="seen", via="outbox").map(seen).to(BulkWriter(db, Seen))
    windows = db.changes(Order, name="counted", via="outbox").window(
        seconds=0.2, lateness=0.1, by={"shop": "shop"}, aggregate={"orders": count_of()}
    )
    counts: list[int] = []
    counting = windows.to(lambda rows: counts.extend(row["orders"] for row in rows))
    for number in range(1, 21):
        with db.transaction() as session:
            session.add(Order(id=number, shop="a", total=1))
    until(lambda: sum(counts) == 20)
    assert flow.stop()
    flow = db.changes(Order, name="seen", via="outbox").map(seen).to(BulkWriter(db, Seen))
    assert flow.stop()
    assert counting.stop()
    with db.session() as session:
        assert sorted(session.scalars(select(Seen.order_id))) == list(range(1, 21))
        assert not session.scalars(select(Counted.orders)).all()
    for name in ("seen", "counted"):
        db.changes(Order, name=name, via="outbox").drop()


def test_a_server_that_is_killed(server: EmbeddedServer, db: Database) -> None:
    read: list[int] = []
    flow = db.changes(Order, name="killed", via="outbox").to(lambda items: read.extend(each.key for each in items))
    with db.transaction() as session:
        session.add(Order(id=1, shop="a", total=1))
    until(lambda: read == [1])
    server.kill()
    server.start()
    db.run(lambda session: session.add(Order(id=2, shop="a", total=1)))
    until(lambda: read == [1, 2])
    assert flow.stop()
    db.changes(Order, name="killed", via="outbox").drop()


async def test_the_async_door(db: Database) -> None:
    async with AsyncDatabase(db.url, pool=POOL) as door:
        changes = door.changes(Order, name="async", via="outbox")
        await changes.create()
        with db.transaction() as session:
            session.add(Order(id=1, shop="a", total=1))
        async for change in changes:
            assert change.key == 1
            change.ack()
            break
        await changes.drop()


def test_it_needs_a_name(db: Database) -> None:
    with pytest.raises(UsageError, match="by name"):
        db.changes(Order, via="outbox")

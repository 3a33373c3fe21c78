"""Changes as a user reads them: values as a select() has them, in commit order, resumed where they were acknowledged."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.engine import URL

from dal import UNCHANGED, AsyncDatabase, Change, Database, Position, UsageError
from tests.streams.conftest import POOL, take, told, until
from tests.streams.models import Animal, Cat, Color, Dog, Employee, Everything, Manager, Order

LONG = "".join(random.Random(7).choices("abcdefghijklmnopqrstuvwxyz", k=20_000))
FULL: dict[str, Any] = {
    "price": Decimal("1234.500"),
    "ratio": 0.1,
    "cents": Decimal("12.34"),
    "color": Color.BLUE,
    "colors": [Color.RED, Color.BLUE],
    "tags": ["a", "b,\"c'", ""],
    "body": {"a": [1, None, "ü"]},
    "token": uuid.UUID(int=7),
    "at": dt.datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=dt.UTC),
    "local": dt.datetime(2026, 3, 29, 1, 30),
    "day": dt.date(2026, 2, 28),
    "time": dt.time(23, 59, 59, 5),
    "span": dt.timedelta(days=400, seconds=5),
    "raw": bytes(range(256)),
    "numbers": Range(1, 5),
    "year": 2026,
    "long": LONG,
}


def test_values_are_those_of_a_select(db: Database) -> None:
    changes = db.changes(Everything, name="all")
    changes.create()
    with db.transaction() as session:
        session.add(Everything(first=1, second="x", **FULL))
        session.flush()
        session.add(Everything(first=2, second="y"))
    found = take(db, changes, 2)
    with db.session() as session:
        for change in found:
            row = session.get_one(Everything, change.key)
            assert change.new is not None
            assert change.new == {name: getattr(row, name) for name in change.new}
            assert {type(value) for value in change.new.values()} == {type(getattr(row, name)) for name in change.new}
    assert {name: found[0].new[name] for name in FULL} == FULL if found[0].new else False
    assert set(found[1].new or ()) == {"first", "second", *FULL}
    assert [change.key for change in found] == [(1, "x"), (2, "y")]
    changes.drop()


def test_what_update_and_delete_tell_of_before(db: Database) -> None:
    changes = db.changes(Order, name="old")
    changes.create()
    with db.transaction() as session:
        session.add(Order(id=1, shop="a", total=5))
    with db.transaction() as session:
        session.execute(update(Order).values(total=6))
    with db.transaction() as session:
        session.execute(update(Order).values(id=2))
    with db.transaction() as session:
        session.execute(delete(Order))
    inserted, changed, renamed, deleted = take(db, changes, 4)
    assert told([inserted, changed, renamed, deleted]) == [("insert", 1), ("update", 1), ("update", 2), ("delete", 2)]
    assert (inserted.old, inserted.new) == (None, {"id": 1, "shop": "a", "total": 5, "paid": False})
    assert (changed.old, changed.new) == ({"id": 1}, {"id": 1, "shop": "a", "total": 6, "paid": False})
    assert (renamed.old, renamed.new and renamed.new["id"]) == ({"id": 1}, 2)
    assert (deleted.old, deleted.new) == ({"id": 2}, None)
    assert inserted.entity is Order
    assert inserted.table == "orders"
    assert inserted.position < changed.position < renamed.position < deleted.position
    assert Position.parse(str(changed.position)) == changed.position
    assert abs(dt.datetime.now(dt.UTC) - inserted.committed_at) < dt.timedelta(minutes=5)
    changes.drop()


def test_the_whole_row_before_it_with_full_identity(db: Database) -> None:
    with db.transaction() as session:
        session.execute(text("ALTER TABLE orders REPLICA IDENTITY FULL"))
    changes = db.changes(Order, name="full", old="full")
    changes.create()
    with db.transaction() as session:
        session.add(Order(id=1, shop="a", total=5))
        session.flush()
        session.execute(update(Order).values(total=6))
        session.execute(delete(Order))
    _, changed, deleted = take(db, changes, 3)
    assert changed.old == {"id": 1, "shop": "a", "total": 5, "paid": False}
    assert deleted.old == {"id": 1, "shop": "a", "total": 6, "paid": False}
    changes.drop()


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
def test_a_long_value_that_was_not_touched(db: Database, identity: str) -> None:
    with db.transaction() as session:
        session.execute(text(f"ALTER TABLE everything REPLICA IDENTITY {identity}"))
        session.add(Everything(first=1, second="x", long=LONG, year=1))
    changes = db.changes(Everything, name="toast")
    changes.create()
    with db.transaction() as session:
        session.execute(update(Everything).values(year=2))
    (change,) = take(db, changes, 1)
    assert change.new is not None
    assert change.new["year"] == 2
    assert change.new["long"] == (UNCHANGED if identity == "DEFAULT" else LONG)
    assert not UNCHANGED
    assert repr(UNCHANGED) == "UNCHANGED"
    changes.drop()


def test_transactions_come_whole_and_in_the_order_of_their_commits(db: Database) -> None:
    changes = db.changes(Order, name="order")
    changes.create()
    first, second = db.session(), db.session()
    first.add(Order(id=1, shop="a", total=1))
    first.flush()
    second.add(Order(id=2, shop="a", total=1))
    second.commit()
    first.add(Order(id=3, shop="a", total=1))
    first.commit()
    first.add(Order(id=4, shop="a", total=1))
    first.flush()
    first.rollback()
    with db.transaction() as session:
        session.add(Order(id=5, shop="a", total=1))
    first.close()
    second.close()
    found = take(db, changes, 4)
    assert [change.key for change in found] == [2, 1, 3, 5]
    assert [change.position.sequence for change in found] == [1, 1, 2, 1]
    assert found[1].xid == found[2].xid != found[0].xid
    changes.drop()


def test_a_stream_goes_on_behind_what_was_acknowledged(db: Database, url: URL) -> None:
    changes = db.changes(Order, name="resume")
    changes.create()
    for number in range(1, 5):
        with db.transaction() as session:
            session.add_all([Order(id=10 * number + each, shop="a", total=1) for each in (1, 2)])
    read = []
    for change in changes:
        read.append(change.key)
        if change.key == 31:  # half of a transaction: it comes again, whole
            change.ack()
            break
        if change.key == 22:
            change.ack()
    assert read == [11, 12, 21, 22, 31]
    with Database(url, pool=POOL) as other:
        assert [change.key for change in take(other, other.changes(Order, name="resume"), 4)] == [31, 32, 41, 42]
        with other.transaction() as session:
            session.add(Order(id=51, shop="a", total=1))
        assert [change.key for change in take(other, other.changes(Order, name="resume"), 1)] == [51]
    changes.drop()


def test_acknowledging_an_older_change_again_moves_nothing(db: Database) -> None:
    changes = db.changes(Order, name="older")
    changes.create()
    for number in (1, 2, 3):
        with db.transaction() as session:
            session.add(Order(id=number, shop="a", total=1))
    seen: list[Change] = []
    for change in changes:
        seen.append(change)
        if len(seen) == 2:
            seen[0].ack()
            seen[0].ack()
            break
    assert [change.key for change in take(db, changes, 2)] == [2, 3]
    with pytest.raises(UsageError, match="closed"):
        seen[0].ack()
    changes.drop()


def test_the_slot_moves_while_nothing_of_the_stream_happens(db: Database) -> None:
    changes = db.changes(Order, name="idle")
    changes.create()
    behind = text("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name LIKE 'dal_%_idle'")
    with db.session() as session:
        before = session.scalar(behind)
    stop = threading.Event()
    moved = []

    def write() -> None:
        for _ in range(400):
            with db.transaction() as session:
                session.add(Animal(name="of another stream"))
            with db.session() as session:
                if session.scalar(behind) != before:
                    moved.append(True)
                    break
            if stop.wait(0.02):
                break
        with db.transaction() as session:
            session.add(Order(id=1, shop="a", total=1))

    thread = threading.Thread(target=write)
    thread.start()
    take(db, changes, 1)
    stop.set()
    thread.join()
    assert moved
    changes.drop()


def test_a_truncate(db: Database) -> None:
    with db.transaction() as session:
        session.add(Order(id=1, shop="a", total=1))
    changes = db.changes(Order, name="cut")
    quiet = db.changes(Order, name="quiet", kinds=["insert"])
    changes.create()
    quiet.create()
    with db.transaction() as session:
        session.execute(text("TRUNCATE orders, animals"))
    with db.transaction() as session:
        session.add(Order(id=2, shop="a", total=1))
    cut, _ = take(db, changes, 2)
    assert (cut.kind, cut.key, cut.old, cut.new, cut.entity) == ("truncate", None, None, None, Order)
    assert told(take(db, quiet, 1)) == [("insert", 2)]
    changes.drop()
    quiet.drop()


def test_a_table_that_changes_while_it_is_read(db: Database) -> None:
    changes = db.changes(Order, name="schema")
    changes.create()
    with db.transaction() as session:
        session.execute(text("INSERT INTO orders VALUES (1, 'a', 1, false)"))
    with db.transaction() as session:
        session.execute(text("ALTER TABLE orders ADD extra int DEFAULT 9"))
        session.execute(text("INSERT INTO orders VALUES (2, 'b', 1, false)"))
    with db.transaction() as session:
        session.execute(text("ALTER TABLE orders DROP shop_name"))
        session.execute(text("ALTER TABLE orders ALTER total TYPE numeric"))
        session.execute(text("INSERT INTO orders VALUES (3, 1.5, false)"))
    found = take(db, changes, 3)
    assert [change.new for change in found] == [
        {"id": 1, "shop": "a", "total": 1, "paid": False},
        {"id": 2, "shop": "b", "total": 1, "paid": False},
        {"id": 3, "total": Decimal("1.5"), "paid": False},
    ]
    changes.drop()


def test_several_classes_and_a_table_in_one_stream(db: Database) -> None:
    metadata = MetaData()
    plain = Table("plain", metadata, Column("number", Integer, key="n", primary_key=True))
    metadata.create_all(db.engine)
    changes = db.changes(Order, plain, Animal, name="several")
    changes.create()
    with db.transaction() as session:
        session.add(Order(id=1, shop="a", total=1))
        session.flush()
        session.execute(insert(plain).values(n=7))
        session.add(Dog(id=2, name="rex", tricks=3))
    found = take(db, changes, 3)
    assert [(change.entity, change.new) for change in found] == [
        (Order, {"id": 1, "shop": "a", "total": 1, "paid": False}),
        (plain, {"n": 7}),
        (Dog, {"id": 2, "kind": "dog", "name": "rex", "tricks": 3}),
    ]
    changes.drop()


def test_single_table_inheritance(db: Database) -> None:
    changes = db.changes(Dog, name="dogs", kinds=("insert", "update"))
    everybody = db.changes(Animal, name="animals")
    changes.create()
    everybody.create()
    with db.transaction() as session:
        session.add_all([Dog(id=1, name="rex", tricks=1), Cat(id=2, name="tom", lives=9), Animal(id=3, name="it")])
        session.flush()
        session.execute(update(Animal).values(name="x"))
        session.execute(delete(Animal).where(Animal.id == 2))
    assert [(each.kind, each.key, each.entity) for each in take(db, changes, 2)] == [("insert", 1, Dog), ("update", 1, Dog)]
    found = take(db, everybody, 7)
    assert {(each.key, each.entity) for each in found[:6]} == {(1, Dog), (2, Cat), (3, Animal)}
    assert set(next(each.new for each in found if each.key == 2) or ()) == {"id", "kind", "name", "lives"}
    assert (found[6].kind, found[6].key, found[6].entity) == ("delete", 2, Animal)
    changes.drop()
    everybody.drop()


def test_joined_inheritance_is_one_change_an_object(db: Database) -> None:
    changes, everybody = db.changes(Manager, name="managers"), db.changes(Employee, name="staff")
    changes.create()
    everybody.create()
    with db.transaction() as session:
        ada, bob = Manager(id=1, name="ada", budget=5), Employee(id=2, name="bob")
        cyd = Manager(id=3, name="cyd", budget=6)
        session.add_all([ada, bob, cyd])
        session.flush()
        ada.name, ada.budget = "Ada", 7
        session.flush()
        cyd.name = "Cyd"
        bob.name = "Bob"
    with db.transaction() as session:
        session.delete(session.get_one(Employee, 2))
        session.delete(session.get_one(Employee, 1))
    found = take(db, changes, 5)
    assert told(found) == [("insert", 1), ("insert", 3), ("update", 1), ("update", 3), ("delete", 1)]
    assert found[0].new == {"id": 1, "name": "ada", "type": "manager", "budget": 5}
    assert found[2].new == {"id": 1, "name": "Ada", "type": "manager", "budget": 7}
    assert found[3].new == {"id": 3, "name": "Cyd", "type": "manager"}  # its other table was not touched
    assert (found[4].old, found[4].entity) == ({"id": 1}, Manager)
    assert [each.position.sequence for each in found] == [1, 2, 3, 4, 1]
    staff = take(db, everybody, 8)
    assert {(each.key, each.entity) for each in staff if each.kind == "insert"} == {(1, Manager), (2, Employee), (3, Manager)}
    changes.drop()
    everybody.drop()


def test_a_stream_without_a_name_begins_now_and_leaves_nothing(db: Database) -> None:
    with db.transaction() as session:
        session.add(Order(id=1, shop="a", total=1))
    writing = threading.Event()

    def write() -> None:
        for number in range(2, 1000):
            with db.transaction() as session:
                session.add(Order(id=number, shop="a", total=1))
            if writing.wait(0.02):
                return

    thread = threading.Thread(target=write)
    thread.start()
    found = take(db, db.changes(Order), 3)
    writing.set()
    thread.join()
    assert found[0].key > 1
    with db.session() as session:
        assert session.scalar(text("SELECT count(*) FROM pg_publication")) == 0
        slots = text("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()")
        assert session.scalar(slots) == 0


def test_closing_the_database_ends_the_loop_of_another_thread(db: Database, url: URL) -> None:
    other = Database(url, pool=POOL)
    changes = other.changes(Order, name="closing")
    read: list[Change] = []
    ended = threading.Event()

    def consume() -> None:
        read.extend(changes)
        ended.set()

    thread = threading.Thread(target=consume)
    thread.start()
    active = text(
        # One that is being made is active too, while it waits for every transaction of the server to end.
        "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'dal_%_closing' AND active"
        " AND confirmed_flush_lsn IS NOT NULL"
    )
    with db.session() as session:
        for _ in range(2000):
            if session.scalar(active):
                break
            session.scalar(select(func.pg_sleep(0.01)))
    other.close()
    assert ended.wait(10)
    thread.join()
    assert not read
    with pytest.raises(UsageError, match="closed"):
        other.changes(Order)
    db.changes(Order, name="closing").drop()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_closing_the_database_while_the_slot_is_being_made(db: Database, url: URL, kind: str) -> None:
    making = text(
        "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'dal_%_made' AND database = current_database()"
    )
    read: list[Change] = []

    def wait_until_it_is_made() -> None:
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            until(lambda: connection.scalar(making))

    async def both() -> None:
        async with AsyncDatabase(url, pool=POOL) as other:

            async def consume() -> None:
                read.extend([change async for change in other.changes(Order, name="made")])

            task = asyncio.create_task(consume())
            await asyncio.to_thread(wait_until_it_is_made)
            await other.close()
            await asyncio.wait_for(task, 20)

    with db.transaction() as session:
        # The server makes no slot before this ends.
        session.add(Order(id=1, shop="a", total=1))
        session.flush()
        if kind == "async":
            asyncio.run(both())
        else:
            other = Database(url, pool=POOL)
            with ThreadPoolExecutor(1) as threads:
                ended = threads.submit(lambda: read.extend(other.changes(Order, name="made")))
                wait_until_it_is_made()
                other.close()
                ended.result(20)
    assert not read
    db.changes(Order, name="made").drop()


def test_closing_the_database_inside_the_loop(url: URL) -> None:
    other = Database(url, pool=POOL)
    changes = other.changes(Order, name="inside")
    changes.create()
    with other.transaction() as session:
        session.add_all([Order(id=1, shop="a", total=1), Order(id=2, shop="a", total=1)])
    read = []
    for change in changes:
        read.append(change.key)
        other.close()
    assert read == [1, 2]  # what was read ahead is given out; the loop ends
    with Database(url, pool=POOL) as again:
        assert [change.key for change in take(again, again.changes(Order, name="inside"), 2)] == [1, 2]
        again.changes(Order, name="inside").drop()

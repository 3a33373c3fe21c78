"""Prefetches take care: of a busy pool, of the data, of time, of other databases; and nothing is left of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.engine import URL

from dal import Database, PoolConfig, sequential
from dal.prefetch import ahead
from tests.prefetch.doors import Town
from tests.prefetch.town import BY_AGE, Base, Person, fill


def test_a_busy_pool_is_left_alone(town: Town) -> None:
    pager = town.pager(BY_AGE, size=30, prefetch=sequential())
    page = town.page(pager, client="ann")
    held = [town.do(_checkout, town) for _ in range(2)]
    town.page(pager, after=page.next, client="ann")
    assert "fewer than two connections of the pool lie idle" in town.why()
    assert town.stats.sent == 0
    for connection in held:
        town.do(connection.close)


async def _checkout_async(town: Town) -> Any:
    return await town.db.engine.connect()


def _checkout(town: Town) -> Any:
    return town.db.engine.connect() if town._runner is None else _checkout_async(town)


def test_a_prefetch_can_change_nothing(town: Town) -> None:
    town.write(
        lambda session: session.execute(
            text(
                "CREATE FUNCTION touch(which int) RETURNS int LANGUAGE plpgsql AS "
                "'BEGIN UPDATE places SET name = name || which WHERE id = 1; RETURN which; END'"
            )
        )
    )
    pager = town.pager(select(Person.id, func.touch(Person.id)).where(Person.id < 9), size=3, prefetch=sequential())
    page = town.page(pager, client="ann")
    town.page(pager, after=page.next, client="ann")
    assert ": failed;" in town.why()
    assert town.stats.wasted == 1


def test_a_slow_prefetch_is_stopped_by_the_server(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "TIMEOUT", 0.1)
    slow = select(Person.id, func.pg_sleep(Person.id * 0.02).cast(text_type())).where(Person.id < 10)
    pager = town.pager(slow, order_by=Person.id, size=3, prefetch=sequential())
    page = town.page(pager, client="ann")
    started = time.monotonic()
    page = town.page(pager, after=page.next, client="ann")
    assert ": failed;" in town.why(), "it would take 0.48 s"
    assert time.monotonic() - started < 20
    assert [row.id for row in town.page(pager, after=page.next, client="ann").items] == [7, 8, 9], "a demand may take its time"


def text_type() -> Any:
    from sqlalchemy import String

    return String


def test_closing_waits_for_nothing_that_hangs(opened: Callable[..., Town], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "TIMEOUT", 60.0)
    monkeypatch.setattr("dal.prefetch.prefetcher._CLOSING", 0.2)
    town = opened()
    town.__enter__()
    slow = select(Person.id, func.pg_sleep(Person.id).cast(text_type())).where(Person.id.in_([-3, -2, -1, 30]))
    town.write(lambda session: session.add_all(Person(id=number, name="n", age=1, home_id=1) for number in (-1, -2, -3)))
    pager = town.pager(slow, order_by=Person.id, size=1, prefetch=sequential())
    page = town.page(pager, client="ann")
    town.page(pager, after=page.next, client="ann", settle=False)
    assert town.stats.waiting == 1
    started = time.monotonic()
    town.__exit__(None, None, None)
    assert time.monotonic() - started < 25


def test_nothing_runs_before_the_first_prefetch_and_nothing_is_left(opened: Callable[..., Town]) -> None:
    with opened() as town:
        pager = town.pager(BY_AGE, size=30, prefetch=sequential())
        town.page(pager, client="ann")
        assert not _threads()
    deadline = time.monotonic() + 10
    while _threads():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("dal-prefetch")]


@pytest.fixture
def file_db(tmp_path: Any) -> Iterator[Database]:
    with Database(f"sqlite:///{tmp_path / 'town.db'}", pool=PoolConfig(min_pool_size=3, max_pool_size=5)) as db:
        Base.metadata.create_all(db.engine)
        db.run(fill)
        yield db


def test_sqlite_in_a_file(file_db: Database) -> None:
    pager = file_db.pager(select(Person), size=30, prefetch=sequential())
    held = [file_db.engine.connect() for _ in range(3)]
    for connection in held:
        connection.close()
    page = pager.page(client="ann")
    page = pager.page(after=page.next, client="ann")
    assert file_db.prefetch.wait(20)
    assert file_db.prefetch.stats().sent == 1, file_db.prefetch.explain()
    assert [person.id for person in pager.page(after=page.next, client="ann").items] == list(range(61, 91))
    assert file_db.prefetch.stats().used == 1


def test_sqlite_in_memory_says_why_it_does_not_prefetch() -> None:
    with Database("sqlite://") as db:
        Base.metadata.create_all(db.engine)
        db.run(fill)
        pager = db.pager(select(Person), size=30, prefetch=sequential())
        page = pager.page(client="ann")
        pager.page(after=page.next, client="ann")
        assert "does not tell what lies idle" in str(db.prefetch.explain()[-1])


def test_mariadb(mariadb: URL) -> None:
    with Database(mariadb, pool=PoolConfig(min_pool_size=3, max_pool_size=5)) as db:
        Base.metadata.drop_all(db.engine)
        Base.metadata.create_all(db.engine)
        db.run(fill)
        pager = db.pager(select(Person), size=30, prefetch=sequential())
        held = [db.engine.connect() for _ in range(3)]
        for connection in held:
            connection.close()
        page = pager.page(client="ann")
        page = pager.page(after=page.next, client="ann")
        assert db.prefetch.wait(20)
        assert [person.id for person in pager.page(after=page.next, client="ann").items] == list(range(61, 91))
        assert db.prefetch.stats().used == 1, db.prefetch.explain()
        db.prefetch.wait(20)
    with Database(mariadb) as db:
        Base.metadata.drop_all(db.engine)

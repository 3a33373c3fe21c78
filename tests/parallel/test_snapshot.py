"""All workers see the same rows while writers run: a sum that must balance."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import Integer, column, select, table
from sqlalchemy.engine import URL

from dal import AsyncDatabase, Database, PoolConfig
from tests.parallel.tables import amounts

ACCOUNTS, EACH = 4000, 100
accounts = table("accounts", column("id", Integer), column("amount", Integer))


@pytest.fixture
def busy(dal_database: URL) -> Any:
    """Accounts between which two writers move money all the time; the sum never changes."""
    conninfo = dal_database.set(drivername="postgresql").render_as_string(hide_password=False)
    stop = threading.Event()
    moved = [0, 0]
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("CREATE TABLE accounts (id int PRIMARY KEY, amount int NOT NULL)")
        connection.execute(f"INSERT INTO accounts SELECT n, {EACH} FROM generate_series(1, {ACCOUNTS}) n")
        connection.execute("ANALYZE accounts")

    def write(seed: int) -> None:
        dice = random.Random(seed)
        with psycopg.connect(conninfo, autocommit=True) as connection:
            while not stop.is_set():
                one, other = sorted(dice.sample(range(1, ACCOUNTS + 1), 2))
                with connection.transaction():
                    connection.execute("UPDATE accounts SET amount = amount - 7 WHERE id = %s", [one])
                    connection.execute("UPDATE accounts SET amount = amount + 7 WHERE id = %s", [other])
                moved[seed] += 1

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(2)]
    for writer in writers:
        writer.start()
    yield dal_database, lambda: sum(moved)
    stop.set()
    for writer in writers:
        writer.join()


@pytest.mark.parametrize(
    "cut", [{"by": accounts.c.id}, {"by": accounts.c.id, "split": "hash"}, {}], ids=["range", "hash", "ctid"]
)
@pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
def test_the_sum_balances(busy: tuple[URL, Callable[[], int]], cut: dict[str, Any], processes: bool) -> None:
    url, moved = busy
    with Database(url, pool=PoolConfig(min_pool_size=1, max_pool_size=4)) as db:
        before = moved()
        for _ in range(1 if processes else 3):
            scan = db.parallel(_rows(), workers=2, parts=12, processes=processes, **cut)
            assert scan.map(amounts).reduce(int.__add__) == ACCOUNTS * EACH
        assert moved() > before


async def test_the_sum_balances_in_tasks(busy: tuple[URL, Callable[[], int]]) -> None:
    url, _ = busy
    async with AsyncDatabase(url, pool=PoolConfig(min_pool_size=1, max_pool_size=4)) as db:
        for _ in range(3):
            assert await db.parallel(_rows(), by=accounts.c.id, parts=12).map(amounts).reduce(int.__add__) == ACCOUNTS * EACH


def test_a_table_that_somebody_empties_is_still_there(busy: tuple[URL, Callable[[], int]]) -> None:
    url, _ = busy
    with Database(url, pool=PoolConfig(min_pool_size=1, max_pool_size=4)) as db:
        found = iter(db.parallel(_rows(), by=accounts.c.id, workers=2, parts=40).map(amounts))
        first = next(found)
        with db.transaction() as session, pytest.raises(Exception, match="lock timeout"):
            session.connection().exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
            session.connection().exec_driver_sql("TRUNCATE accounts")
        assert first + sum(found) == ACCOUNTS * EACH


def _rows() -> Any:
    return select(accounts.c.id, accounts.c.amount)

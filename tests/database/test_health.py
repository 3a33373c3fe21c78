"""health: does it answer, and what is to be done."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from dal import Database, PoolConfig, deadlines
from tests.database.doors import DOORS, Door, open_door


def told(health: Any) -> str:
    return "\n".join(str(problem) for problem in health.problems)


def test_a_server_that_is_well(db: Door) -> None:
    health = db.call(lambda database: database.health())
    assert health.ok
    assert 0 < health.latency < 1
    assert int(health.server_version.split(".")[0]) >= 13
    assert health.in_recovery is False
    assert "replica" not in told(health)


def test_a_server_that_is_not_there(opened: Callable[..., Door]) -> None:
    nowhere = URL.create("postgresql+psycopg", "app", "secret", "127.0.0.1", 1, "shop")
    db = opened(nowhere, pool=PoolConfig(connection_timeout="300ms"))
    health = db.call(lambda database: database.health())
    assert not health.ok
    assert health.latency is health.server_version is None
    assert "does not answer" in told(health)
    assert "secret" not in told(health)


def test_a_server_that_is_not_there_within_a_deadline(opened: Callable[..., Door]) -> None:
    db = opened(URL.create("postgresql+psycopg", "app", "secret", "127.0.0.1", 1, "shop"))
    with deadlines.limit(0.3):
        health = db.call(lambda database: database.health())
    assert "efused" in told(health), "why, not only that it took too long"
    assert "allow more time" not in told(health)


def test_more_connections_than_the_server_takes(opened: Callable[..., Door]) -> None:
    db = opened(pool=PoolConfig(min_pool_size=0, max_pool_size=5000))
    assert "max_pool_size is 5000, but the server takes" in told(db.call(lambda database: database.health()))


def test_borrowers_that_wait(dal_database: URL) -> None:
    with Database(dal_database, pool=PoolConfig(min_pool_size=0, max_pool_size=2)) as db, ThreadPoolExecutor(4) as threads:

        def hold(session: Session, seconds: float) -> None:
            session.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})

        held = [threads.submit(db.run, hold, 0.3), threads.submit(db.run, hold, 1.0)]
        until(lambda: db.pool.stats().in_use == 2)
        looking = threads.submit(db.health)
        until(lambda: db.pool.stats().waiting == 1)
        held.append(threads.submit(db.run, hold, 0.0))
        until(lambda: db.pool.stats().waiting == 2)
        found = looking.result(10)
        for each in held:
            each.result(10)
    assert found.ok
    assert "1 wait for a connection" in told(found)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("database", "named", "silent"),
    [
        ("file", ["idle_timeout", "validation_query", "test_while_idle"], "max_pool_size"),
        (":memory:", ["idle_timeout", "max_pool_size", "max_lifetime"], "retry"),
    ],
)
def test_settings_that_do_nothing_are_named(door: str, tmp_path: Path, database: str, named: list[str], silent: str) -> None:
    url = URL.create("sqlite", database=database if database.startswith(":") else str(tmp_path / database))
    with open_door(door, url, pool=PoolConfig(idle_timeout="1m")) as db:
        health = db.call(lambda opened: opened.health())
    assert health.ok
    assert health.server_version
    assert health.in_recovery is None
    assert len(health.problems) == 1
    assert all(name in health.problems[0].what for name in named)
    assert silent not in health.problems[0].what
    assert health.problems[0].fix == "leave out idle_timeout"

"""A database whose changes can be read, and ways to read some of them and no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from dal import Change, Changes, Database, PoolConfig
from tests.streams.models import Base

POOL = PoolConfig(min_pool_size=0, max_pool_size=5, retry_delay=0.05)


@pytest.fixture
def url(dal_database: URL) -> URL:
    """A database with the models in it, which commits as a real one does: what is not flushed cannot be streamed."""
    with Database(dal_database, pool=POOL) as db:
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f'ALTER DATABASE "{dal_database.database}" SET synchronous_commit = on'))
        Base.metadata.create_all(db.engine)
        with db.transaction() as session:
            session.execute(text("CREATE DOMAIN year_number AS integer CHECK (VALUE > 0)"))
            session.execute(text("ALTER TABLE everything ALTER year TYPE year_number"))
    return dal_database


@pytest.fixture
def db(url: URL) -> Iterator[Database]:
    with Database(url, pool=POOL) as db:
        yield db
    assert not [each for each in threading.enumerate() if each.name.startswith("dal ")]


def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait for something to come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


def take(db: Database, changes: Changes, count: int, *, ack: bool = True) -> list[Change]:
    """Read so many changes and leave the loop."""
    found: list[Change] = []
    guard = threading.Timer(20.0, db._known_streams().close)
    guard.start()
    try:
        for change in changes:
            found.append(change)
            if ack:
                change.ack()
            if len(found) == count:
                break
    finally:
        guard.cancel()
        guard.join()
    assert len(found) == count
    return found


def told(changes: Iterable[Change]) -> list[tuple[str, Any]]:
    """What happened, and to which key."""
    return [(change.kind, change.key) for change in changes]

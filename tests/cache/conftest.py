"""A database with authors and books, and a cache, behind each door."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy.engine import URL

from dal import Database, MemoryCache
from dal.testing import Server
from tests.cache.models import Base, fill
from tests.database.doors import DOORS, Door, open_door


@pytest.fixture(scope="package")
def shelves_url(dal_server: Server) -> Iterator[URL]:
    """A database that the tests of this room share; each begins with the same rows."""
    name = f"cache_{uuid.uuid4().hex}"
    url = dal_server.create_database(name)
    with Database(url) as db:
        Base.metadata.create_all(db.engine)
    yield url
    dal_server.drop_database(name)


@pytest.fixture
def url(shelves_url: URL) -> URL:
    with Database(shelves_url) as db:
        db.run(fill)
    return shelves_url


@pytest.fixture(params=DOORS)
def opened(request: pytest.FixtureRequest, url: URL) -> Iterator[Callable[..., Door]]:
    """Open the database with a cache through either door."""
    with ExitStack() as stack:

        def make(url: URL = url, **options: Any) -> Door:
            return stack.enter_context(open_door(request.param, url, **{"cache": MemoryCache(), **options}))

        yield make


@pytest.fixture
def db(opened: Callable[..., Door]) -> Door:
    return opened()


class Reader:
    """Reads through a cache and counts how often it came to the database."""

    def __init__(self, door: Door, load: Callable[..., Any], key: str = "key") -> None:
        self.door, self.key, self.loads = door, key, 0
        self._load = load

    def __call__(self, **options: Any) -> Any:
        def load(session: Any) -> Any:
            self.loads += 1
            return self._load(session)

        return self.door.call(lambda db: as_awaited(db, db.cache.fetch(self.key, load, **options)))

    @property
    def kept(self) -> bool:
        """Whether the value is kept."""
        found: bool = self.door.call(lambda db: as_awaited(db, db.cache.has(self.key)))
        return found


def as_awaited(db: Any, value: Any) -> Any:
    """Return what a door can await: the async one awaits everything."""
    if isinstance(db, Database) or hasattr(value, "__await__"):
        return value

    async def done() -> Any:
        return value

    return done()


def stats(door: Door) -> Any:
    """Return what the cache counted."""
    return door.call(lambda db: as_awaited(db, db.cache.stats()))


def eventually(check: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)

"""A database with the shop in it, opened through either door."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy.engine import URL

from dal import AsyncDatabase, Database, PoolConfig
from dal.testing import Server
from tests.promise.models import Base, fill

POOL = PoolConfig(min_pool_size=1, max_pool_size=4)


def made(url: URL) -> URL:
    """Build a shop."""
    with Database(url, pool=POOL) as db:
        Base.metadata.create_all(db.engine)
        db.run(fill)
    return url


@pytest.fixture(scope="session")
def shared_url(dal_server: Server) -> Iterator[URL]:
    """The URL of the shop of those tests that commit nothing."""
    name = f"promise_{uuid.uuid4().hex}"
    yield made(dal_server.create_database(name))
    dal_server.drop_database(name)


@pytest.fixture
def url(shared_url: URL) -> URL:
    """The URL of a shop; a module whose tests commit gives each its own."""
    return shared_url


@pytest.fixture
def db(url: URL) -> Iterator[Database]:
    with Database(url, pool=POOL) as db:
        yield db


@pytest.fixture
async def async_db(url: URL) -> AsyncIterator[AsyncDatabase]:
    async with AsyncDatabase(url, pool=POOL) as db:
        yield db

"""A database of sales, filled once, behind each door."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from dal import Database, PoolConfig
from dal.testing import Server
from tests.database.doors import DOORS, Door, open_door
from tests.parallel.tables import FILL, Base

POOL = PoolConfig(min_pool_size=1, max_pool_size=6)


def filled(url: URL) -> URL:
    """Make the tables and fill them."""
    with Database(url, pool=POOL) as db:
        Base.metadata.create_all(db.engine)
        with db.transaction() as session:
            session.execute(text(FILL))
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
    return url


@pytest.fixture(scope="session")
def sales_url(dal_server: Server) -> Iterator[URL]:
    """Sales that no test changes."""
    name = f"parallel_{uuid.uuid4().hex}"
    yield filled(dal_server.create_database(name))
    dal_server.drop_database(name)


@pytest.fixture(params=DOORS)
def opened(request: pytest.FixtureRequest) -> Iterator[Callable[..., Door]]:
    """Open a database through either door."""
    with ExitStack() as stack:
        yield lambda url, **options: stack.enter_context(open_door(request.param, url, **{"pool": POOL, **options}))


@pytest.fixture
def door(opened: Callable[..., Door], sales_url: URL) -> Door:
    return opened(sales_url)


@pytest.fixture
def db(sales_url: URL) -> Iterator[Database]:
    with Database(sales_url, pool=POOL) as db:
        yield db

"""One PostgreSQL for the tests of the pool, and engines that are closed behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.pool import NullPool

from dal.embedded import EmbeddedServer
from dal.pool import ConnectionPool


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tcp=True, settings={"max_connections": "120"}) as running:
        yield running


@pytest.fixture
def url(server: EmbeddedServer) -> URL:
    return server.url()


@pytest.fixture
def engine(url: URL) -> Iterator[Callable[..., Engine]]:
    """Make engines over ConnectionPool; each is closed at the end."""
    made: list[Engine] = []

    def make(target: URL = url, **settings: Any) -> Engine:
        made.append(create_engine(target, poolclass=ConnectionPool, **settings))
        return made[-1]

    yield make
    for one in made:
        assert isinstance(one.pool, ConnectionPool)
        one.pool.close(timeout=1)


@pytest.fixture
def admin(url: URL) -> Iterator[Engine]:
    """An engine beside the pool, to look at the server and to kill its backends."""
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture
def backends(admin: Engine) -> Callable[[str], int]:
    """Count the server's backends by application name."""

    def count(name: str) -> int:
        with admin.connect() as connection:
            found = connection.execute(
                text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :name"), {"name": name}
            )
            return int(found.scalar_one())

    return count

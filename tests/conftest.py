"""One real server for the whole suite, by dal's own plugin: `dal_server`, `dal_database`, `dal_session` and the rest."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest
import pytest_asyncio
from sqlalchemy import create_engine
from sqlalchemy.engine import URL, Engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from dal.testing import Template
from tests.mariadb import mariadb, mariadb_server
from tests.redis import redis_server, redis_url

__all__ = [
    "async_engine",
    "dal_database",
    "dal_server_settings",
    "engine",
    "mariadb",
    "mariadb_server",
    "redis_server",
    "redis_url",
]


def pytest_configure() -> None:
    """Hear Ctrl-C, and let the processes of tests hear it: a suite in the background of a shell has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def dal_server_settings() -> Mapping[str, str]:
    return {
        "wal_level": "logical",
        "max_connections": "200",
        "max_prepared_transactions": "20",
        "max_replication_slots": "20",
        "max_wal_senders": "20",
    }


@pytest.fixture
def dal_database(dal_template: Template) -> Iterator[URL]:
    """A clone made on the spot: tests here count the threads of the process and measure time, which a pool at work disturbs."""
    with dal_template.clone() as url:
        yield url


@pytest.fixture
def engine(dal_database: URL) -> Iterator[Engine]:
    """An engine on a database of the test's own."""
    engine = create_engine(dal_database)
    yield engine
    engine.dispose()


@pytest_asyncio.fixture
async def async_engine(dal_database: URL) -> AsyncIterator[AsyncEngine]:
    """An async engine on a database of the test's own."""
    engine = create_async_engine(dal_database)
    yield engine
    await engine.dispose()

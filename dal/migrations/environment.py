"""The connection on which a migration environment runs: what `env.py` asks for.

`dal migrate` hands the connection over, already locked where it writes. Plain `alembic` hands nothing over: then a
connection is opened from `sqlalchemy.url` of `alembic.ini`, or from `DAL_URL`, and locked for the whole command.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic.config import Config
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine
from sqlalchemy.exc import OperationalError

from dal.config import DatabaseConfig
from dal.errors import ConfigError, ConnectFailed
from dal.migrations.lock import exclusive

__all__ = ["connection", "open_connection", "open_engine"]

# The name Alembic's own documentation uses for a connection handed to env.py.
HANDED_OVER = "connection"

# An application that opens AsyncDatabase keeps its URL: the same driver, or SQLite's own, works without a loop.
_SYNC = {"postgresql+psycopg_async": "postgresql+psycopg", "sqlite+aiosqlite": "sqlite"}


@contextmanager
def connection(config: Config, *, lock_timeout: float = 60.0) -> Iterator[Connection]:
    """Give `env.py` its connection.

    Args:
        config: `alembic.context.config`.
        lock_timeout: Seconds to wait for another instance, where plain `alembic` runs the environment.

    Yields:
        An open connection.

    Raises:
        ConfigError: Nothing says which database.
        ConnectFailed: The database does not answer.
        DeadlineExceeded: Another instance migrated all the time.
    """
    handed_over = config.attributes.get(HANDED_OVER)
    if isinstance(handed_over, Connection):
        yield handed_over
        return
    url = config.get_main_option("sqlalchemy.url")
    settings = DatabaseConfig(url=url) if url else DatabaseConfig.from_env()
    with open_connection(open_engine(settings.url)) as own, exclusive(own, lock_timeout):
        yield own


def open_engine(database: str | URL | Engine) -> Engine:
    """Make an engine that keeps no connection, or take the caller's own as it is.

    Args:
        database: A URL or an engine.

    Returns:
        The engine.

    Raises:
        ConfigError: The URL cannot be read, or its driver works in a loop only.

    Example:
        >>> open_engine("sqlite+aiosqlite:///shop.db").url
        sqlite:///shop.db
    """
    if isinstance(database, Engine):
        return database
    url = DatabaseConfig(url=database).url
    url = url.set(drivername=_SYNC.get(url.drivername, url.drivername))
    named = url.drivername == "postgresql+psycopg" and "application_name" not in url.query
    engine = create_engine(url, poolclass=NullPool, connect_args={"application_name": "dal migrate"} if named else {})
    if engine.dialect.is_async:
        raise ConfigError(
            f"url: migrations cannot run on the driver {engine.dialect.driver!r}, which needs an event loop",
            hint="postgresql+psycopg://user:password@host:5432/database",
        )
    return engine


@contextmanager
def open_connection(engine: Engine) -> Iterator[Connection]:
    """Connect, and say which address did not answer.

    Args:
        engine: The engine.

    Yields:
        The connection, closed afterwards.

    Raises:
        ConnectFailed: No connection could be made.
    """
    try:
        opened = engine.connect()
    except OperationalError as error:
        where = engine.url.render_as_string(hide_password=True)
        raise ConnectFailed(
            f"no connection to {where}: {error.orig}",
            hint="check host, port, database and user, and that the server accepts this client",
            orig=error.orig,
        ) from error
    with opened:
        yield opened

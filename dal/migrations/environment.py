"""The connection on which a migration environment runs: what `env.py` asks for.

`dal migrate` hands the connection over, already locked where it writes. Plain `alembic` hands nothing over: then a
connection is opened from `sqlalchemy.url` of `alembic.ini`, or from `DAL_URL`, and locked for the whole command.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic.config import Config
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event

from dal.config import DatabaseConfig
from dal.database.engines import check_driver, errors_of_creation, explain_connect_error
from dal.migrations.lock import exclusive

__all__ = ["connection", "include_object", "open_engine"]

# The name Alembic's own documentation uses for a connection handed to env.py.
HANDED_OVER = "connection"

# An application that opens AsyncDatabase keeps its URL; migrations run without a loop.
_SYNC = {
    "postgresql+psycopg_async": "postgresql+psycopg",
    "postgresql+asyncpg": "postgresql+psycopg",
    "sqlite+aiosqlite": "sqlite",
}


_NOT_THE_MODELS = ("dal_", "procrastinate_")


def include_object(thing: object, name: str | None, kind: str, reflected: bool, compare_to: object) -> bool:
    """Leave out the tables that dal and its job queue make for themselves: no migration shall drop them.

    For `context.configure(include_object=include_object)`; the arguments are Alembic's.

    Returns:
        False for a table that is in the database, not in the models, and named `dal_...` or `procrastinate_...`.

    Example:
        >>> include_object(None, "dal_jobs", "table", True, None)
        False
        >>> include_object(None, "orders", "table", True, None)
        True
    """
    return not (kind == "table" and reflected and compare_to is None and (name or "").startswith(_NOT_THE_MODELS))


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
    with open_engine(settings.url).connect() as own, exclusive(own, lock_timeout):
        yield own


def open_engine(database: str | URL | Engine) -> Engine:
    """Make an engine that keeps no connection, or take the caller's own as it is.

    Args:
        database: A URL or an engine.

    Returns:
        The engine.

    Raises:
        ConfigError: The URL cannot be read, or its driver is unknown or works in a loop only.
        MissingExtra: The driver is not installed.

    Example:
        >>> open_engine("sqlite+aiosqlite:///shop.db").url
        sqlite:///shop.db
    """
    if isinstance(database, Engine):
        return database
    url = DatabaseConfig(url=database).url
    url = url.set(drivername=_SYNC.get(url.drivername, url.drivername))
    check_driver(url, is_async=False)
    named = url.drivername == "postgresql+psycopg" and "application_name" not in url.query
    with errors_of_creation(url):
        engine = create_engine(url, poolclass=NullPool, connect_args={"application_name": "dal migrate"} if named else {})
    event.listen(engine, "handle_error", explain_connect_error)
    return engine

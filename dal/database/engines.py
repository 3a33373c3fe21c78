"""Make an engine of a configuration: the pool that fits the database, and errors that say host, port and what to check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from dal.config import PoolConfig
from dal.errors import ConfigError, ConnectFailed, DalError, MissingExtra

__all__ = [
    "UNMAPPED",
    "check_driver",
    "close_engine",
    "errors_of_creation",
    "explain_connect_error",
    "make_engine",
    "pool_options",
]

UNMAPPED = ("idle_timeout", "validation_query", "test_while_idle")
"""Pool settings that SQLAlchemy's own pool, used for other databases than PostgreSQL, has nothing for."""

_HINTS = (
    ("could not translate host name", "the host name is unknown: check it for a typo"),
    ("Name or service not known", "the host name is unknown: check it for a typo"),
    ("Connection refused", "nothing listens there: is the server running, and is this its port?"),
    ("No such file or directory", "there is no socket there: is the server running, and is this its folder?"),
    ("password authentication failed", "check the user and the password"),
    ("no password supplied", "put a password into the URL, or into a .pgpass file"),
    ("does not exist", "create it, or check the name in the URL"),
    ("too many clients", "the server is full: raise max_connections or lower max_pool_size"),
    ("timeout", "the host does not answer: check the address, and firewalls on the way"),
)


def make_engine(url: URL, pool: PoolConfig, options: Mapping[str, Any]) -> Engine:
    """Make a sync engine; nothing connects yet.

    Args:
        url: The database.
        pool: The pool's settings.
        options: Further arguments of `create_engine`.

    Returns:
        SQLAlchemy's engine.

    Raises:
        ConfigError: The dialect or an option is unknown.
        MissingExtra: The driver is not installed.
    """
    check_driver(url, is_async=False)
    with errors_of_creation(url):
        engine = create_engine(url, **{**pool_options(url, pool), **options})
    event.listen(engine, "handle_error", explain_connect_error)
    return engine


def pool_options(url: URL, pool: PoolConfig) -> dict[str, Any]:
    """Return the pool's settings as arguments of `create_engine`.

    Args:
        url: PostgreSQL gets dal's own pool; for others the settings are mapped to SQLAlchemy's.
        pool: The settings.

    Returns:
        Keyword arguments.
    """
    if url.get_backend_name() == "postgresql":
        from dal.pool import ConnectionPool

        return {"poolclass": ConnectionPool, **asdict(pool)}
    dialect: Any = url.get_dialect()
    chosen = dialect.get_pool_class(url)
    if not issubclass(chosen, QueuePool):
        return {}
    kept = max(pool.min_pool_size, 1)
    return {
        "pool_size": kept,
        "max_overflow": pool.max_pool_size - kept,
        "pool_timeout": pool.connection_timeout,
        "pool_recycle": pool.max_lifetime,
        "pool_pre_ping": bool(pool.test_on_borrow),
    }


def check_driver(url: URL, *, is_async: bool) -> None:
    """Refuse a dialect that does not exist or belongs to the other door.

    Raises:
        ConfigError: It cannot be used.
    """
    try:
        dialect = url.get_dialect(_is_async=is_async)
    except (NoSuchModuleError, ArgumentError) as error:
        raise ConfigError(
            f"url: {url.drivername!r} is no dialect that SQLAlchemy knows", hint="write postgresql+psycopg:// or sqlite:///"
        ) from error
    if dialect.is_async != is_async:
        door, other = ("AsyncDatabase", "postgresql+psycopg") if is_async else ("Database", "AsyncDatabase")
        hint = f"use a URL such as {other}://" if is_async else f"open it with {other}"
        raise ConfigError(f"url: the driver {url.drivername!r} cannot be used by {door}", hint=hint)


@contextmanager
def errors_of_creation(url: URL) -> Iterator[None]:
    """Turn what `create_engine()` raises for a missing driver or an unknown argument into errors of dal."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = "binary" if error.name == "psycopg" else None
        hint = f"pip install 'dal[{extra}]'" if extra else f"pip install {error.name}"
        raise MissingExtra(f"{url.drivername} needs the driver {error.name!r}, which is not installed", hint=hint) from error
    except ImportError as error:
        if url.get_driver_name() != "psycopg":
            raise
        raise MissingExtra(f"psycopg cannot be used here: {error}", hint="pip install 'dal[binary]'") from error
    except TypeError as error:
        raise ConfigError(f"engine_options: {error}", hint="these are the arguments of SQLAlchemy's create_engine()") from error


def explain_connect_error(context: ExceptionContext) -> None:
    """Say host, port and what to check when no connection could be made; a listener of SQLAlchemy's `handle_error`."""
    original = context.original_exception
    if context.connection is not None or context.engine is None or isinstance(original, DalError):
        return
    if not isinstance(original, context.dialect.loaded_dbapi.OperationalError):
        return
    url = context.engine.url
    cause = str(original).strip().splitlines()[0]
    hint = next((hint for words, hint in _HINTS if words in str(original)), "check the URL and the server's log")
    raise ConnectFailed(f"no connection to {_place(url)}: {cause}", hint=hint, orig=original) from original


def _place(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return f"the file {url.database}"
    host = url.host or url.query.get("host") or "the local socket"
    return f"{url.database or 'the database'} at host {host}, port {url.port or url.query.get('port') or 'default'}"


def close_engine(engine: Engine) -> None:
    """Close an engine's pool and whatever else it holds.

    Args:
        engine: The engine.
    """
    close: Callable[[], None] | None = getattr(engine.pool, "close", None)
    if close is not None:
        close()
    engine.dispose()

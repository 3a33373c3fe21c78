"""Make an asyncio engine of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from dal.config import PoolConfig
from dal.database.engines import check_driver, errors_of_creation, explain_connect_error, pool_options

__all__ = ["make_async_engine"]


def make_async_engine(url: URL, pool: PoolConfig, options: Mapping[str, Any]) -> AsyncEngine:
    """Make an asyncio engine; nothing connects yet.

    Args:
        url: The database; `sqlite:` is read as `sqlite+aiosqlite:`.
        pool: The pool's settings.
        options: Further arguments of `create_async_engine`.

    Returns:
        SQLAlchemy's engine.

    Raises:
        ConfigError: The dialect or an option is unknown, or the driver has no asyncio.
        MissingExtra: The driver is not installed.
    """
    chosen = url.set(drivername="sqlite+aiosqlite") if url.drivername == "sqlite" else url
    with errors_of_creation(chosen):
        check_driver(chosen, is_async=True)
        engine = create_async_engine(chosen, **{**pool_options(chosen, pool), **options})
    event.listen(engine.sync_engine, "handle_error", explain_connect_error)
    return engine

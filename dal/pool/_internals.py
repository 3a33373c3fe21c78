"""The names of SQLAlchemy that are not promised, in one place, each with what happens where it is missing."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

from sqlalchemy import util
from sqlalchemy.engine import Connection
from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["driver_of", "entry_of", "wait_for", "was_invalidated"]

T = TypeVar("T")

_await: Any = getattr(util, "await_", None) or util.await_only


def wait_for(awaitable: Awaitable[T]) -> T:
    """Await inside one of SQLAlchemy's greenlets."""
    result: T = _await(awaitable)
    return result


def was_invalidated(record: ConnectionPoolEntry) -> bool:
    """Tell whether a record was invalidated, also softly; without the private method only a hard one shows."""
    asked = getattr(record, "_is_hard_or_soft_invalidated", None)
    return bool(asked()) if asked is not None else record.dbapi_connection is None


def entry_of(proxied: Any) -> ConnectionPoolEntry | None:
    """Find the pool's record behind a checked-out connection; None when it was detached or the name is gone."""
    record: ConnectionPoolEntry | None = getattr(proxied, "_connection_record", None)
    return record


def driver_of(connection: Connection | None) -> Any:
    """Find the driver's connection without opening another one; None when there is none."""
    proxied = getattr(connection, "_dbapi_connection", None)
    return proxied.driver_connection if proxied is not None else None

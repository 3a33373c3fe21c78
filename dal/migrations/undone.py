"""Run Alembic's comparison without leaving its version table behind in a database that was only looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

__all__ = ["undone"]


@contextmanager
def undone(connection: Connection) -> Iterator[None]:
    """Roll back, at the end, whatever happens on a connection; Alembic sees an outer transaction and leaves it alone.

    Args:
        connection: A connection that is in no transaction.

    Yields:
        Nothing.
    """
    if connection.dialect.name == "sqlite":
        # The driver opens no transaction before DDL: this one is opened by hand.
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("BEGIN")
    else:
        connection.begin()
    try:
        yield
    finally:
        connection.rollback()

"""Say that a transaction writes tables by a way that SQLAlchemy's events do not show, such as COPY on the driver's cursor.

The names stay with the pooled connection until its transaction ends; a cache that watches the engine spoils what it has of
those tables after the commit. Without a cache nothing looks at them. Statements that SQLAlchemy sends need none of this.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

__all__ = ["DELETED", "WRITTEN", "bare", "written"]

WRITTEN = "dal.written"
"""Where the names are in `Connection.info`."""
DELETED = "-"
"""Before a name: rows may be gone, so foreign keys may have changed other tables."""


def written(connection: Connection, tables: Iterable[str]) -> None:
    """Note what the transaction of a connection writes; call it inside the transaction, before it commits.

    Args:
        connection: The connection.
        tables: Names of tables, with or without a schema.

    Example:
        >>> from sqlalchemy import create_engine
        >>> with create_engine("sqlite://").connect() as connection:
        ...     written(connection, ["public.flights"])
        ...     sorted(connection.info[WRITTEN])
        ['-flights', 'flights']
    """
    noted = connection.info.setdefault(WRITTEN, set())
    for table in map(bare, tables):
        noted |= {table, DELETED + table}


def bare(name: str) -> str:
    """Return the name of a table without its schema, quotes and case: tables of one name in several schemas count as one."""
    return name.rpartition(".")[2].strip('"`[] ').casefold()

"""Statements of dal's own on an application's connection, which listeners, counters and logs of the application do not see.

They run on the driver's cursor, inside the application's transaction as BEGIN and COMMIT do, and fail as any statement does.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

__all__ = ["ask", "in_autocommit", "left_in_the_middle"]

_BETWEEN_COMMANDS = {0, 2, 3}
"""libpq's transaction status: idle, in a transaction, in a failed one. 1 is in the middle of a command, 4 unknown."""


def ask(connection: Connection, statement: str, *values: str | int) -> tuple[Any, ...]:
    """Send a statement and return its first row.

    Args:
        connection: The connection.
        statement: SQL with `%s` for each value, and no other percent sign.
        values: What to put there.

    Returns:
        The row; an empty one where the statement returns none.

    Raises:
        DBAPIError: It failed; a lost connection is invalidated.
    """
    dbapi: Any = connection.dialect.loaded_dbapi
    proxied: Any = connection.connection
    cursor = proxied.cursor()
    try:
        if not values:
            cursor.execute(statement)
        elif connection.dialect.driver in {"psycopg", "psycopg_async"}:
            cursor.execute(statement, values)
        else:
            cursor.execute(statement % tuple(_literal(value) for value in values))
        row: tuple[Any, ...] = cursor.fetchone() if cursor.description else ()
        return row
    except dbapi.Error as error:
        lost = connection.dialect.is_disconnect(error, proxied, cursor) or left_in_the_middle(error, proxied.driver_connection)
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement, None, error, dbapi.Error, connection_invalidated=lost, dialect=connection.dialect
        ) from error
    finally:
        cursor.close()


def in_autocommit(connection: Connection) -> bool:
    """Tell whether each statement of a connection is a transaction of its own."""
    return getattr(connection.connection.dbapi_connection, "autocommit", False) is True


def left_in_the_middle(error: BaseException, driver: Any) -> bool:
    """Tell whether psycopg gave up in the middle of a command: its socket was closed, and it does not call that closed.

    Args:
        error: The driver's error.
        driver: psycopg's connection; anything else is not judged.
    """
    pgconn = getattr(driver, "pgconn", None)
    # What the server said has a SQLSTATE and a class of its own; this is what psycopg itself says of the connection.
    if pgconn is None or type(error).__name__ != "OperationalError":
        return False
    return pgconn.transaction_status not in _BETWEEN_COMMANDS


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"

"""What is asked of a running server in SQL: create a database, drop one, promote a replica."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import URL

from dal.errors import ServerError

if TYPE_CHECKING:
    import psycopg

__all__ = ["connect", "create_database", "drop_database", "promote"]


def create_database(url: URL, *, template: str | None = None) -> None:
    """Create a database.

    Copies the template's files where the server does not sync to disk anyway: a third faster than by WAL.

    Args:
        url: The database to create; the connection goes to the database postgres of its server.
        template: The database to clone, which nobody may be connected to; by default an empty one.

    Raises:
        ServerError: The server refuses; the message is its own.
    """
    import psycopg
    from psycopg import sql

    with connect(url.set(database="postgres")) as connection:
        unsafe = connection.execute("SELECT current_setting('fsync') = 'off'").fetchone() == (True,)
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}").format(
            sql.Identifier(url.database or ""),
            sql.Identifier(template or "template1"),
            sql.SQL("file_copy" if unsafe else "wal_log"),
        )
        try:
            connection.execute(statement)
        except psycopg.Error as error:
            raise ServerError(
                f"the database {url.database!r} cannot be created: {error}",
                hint="another name, or close what uses the template",
            ) from error


def drop_database(url: URL) -> None:
    """Drop a database, if it exists, and end the connections to it.

    Args:
        url: The database to drop; the connection goes to the database postgres of its server.
    """
    from psycopg import sql

    with connect(url.set(database="postgres")) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(url.database or "")))


def promote(conninfo: str) -> None:
    """Make a replica a primary and wait until it is one.

    Args:
        conninfo: How libpq reaches it.

    Raises:
        ServerError: It is no replica, or was not promoted within a minute.
    """
    import psycopg

    with psycopg.connect(conninfo, autocommit=True) as connection:
        try:
            promoted = connection.execute("SELECT pg_promote(true, 60)").fetchone() == (True,)
        except psycopg.errors.ObjectNotInPrerequisiteState as error:
            raise ServerError(
                "the server cannot be promoted: it is no replica", hint="primary.basebackup() makes one"
            ) from error
    if not promoted:
        raise ServerError("the replica was not promoted within 60 s", hint="see its log: recovery does not come to an end")


def connect(url: URL) -> psycopg.Connection[tuple[Any, ...]]:
    """Connect in autocommit, past any pool.

    Args:
        url: The database, with whatever driver.
    """
    import psycopg

    # By way of the dialect, because a rendered URL with a space in it is not one that libpq reads.
    url = url.set(drivername="postgresql+psycopg")
    _, parameters = url.get_dialect()().create_connect_args(url)
    return psycopg.connect(**parameters, autocommit=True)

"""One snapshot for several connections: exported by one, taken over by the others.

It lasts as long as the transaction that exported it; whoever takes it over keeps it to the end of a transaction of its own.
PostgreSQL only.
"""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from dal.own_statements import ask

__all__ = ["adopt", "begin", "export"]


def export(connection: Connection) -> str:
    """Export the snapshot of a connection's transaction.

    Args:
        connection: In REPEATABLE READ.

    Returns:
        The snapshot's name.
    """
    return str(ask(connection, "SELECT pg_export_snapshot()")[0])


def adopt(connection: Connection, snapshot: str) -> None:
    """Take a snapshot over.

    Args:
        connection: In a transaction of REPEATABLE READ that has sent nothing yet.
        snapshot: What `export` returned.
    """
    ask(connection, f"SET TRANSACTION SNAPSHOT '{snapshot}'")


def begin(session: Session) -> Connection:
    """Begin a session's transaction so that it keeps one snapshot and writes nothing.

    Args:
        session: That is in no transaction yet.

    Returns:
        Its connection.
    """
    connection = session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    ask(connection, "SET TRANSACTION READ ONLY")
    return connection

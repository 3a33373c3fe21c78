"""How a prefetch reads: in a read-only transaction with a short timeout, so that it can neither change nor hold up anything.

PostgreSQL sees to both. On other databases only the wait for a connection is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from dal.deadlines import limit
from dal.own_statements import ask, in_autocommit

__all__ = ["TIMEOUT", "careful", "in_time"]

TIMEOUT = 1.0
"""Seconds for a prefetch: for a connection, and for its statement on PostgreSQL."""

_CAREFULLY = "SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', %s, true)"


@contextmanager
def in_time() -> Iterator[None]:
    """Wait for a connection no longer than a prefetch may take."""
    with limit(TIMEOUT):
        yield


def careful(session: Session) -> Session:
    """Have PostgreSQL let a transaction change nothing, and stop it when it takes too long.

    Args:
        session: The session that has the transaction for itself.

    Returns:
        The same session.
    """
    connection = session.connection()
    if connection.dialect.name == "postgresql" and not in_autocommit(connection):
        ask(connection, _CAREFULLY, str(int(TIMEOUT * 1000)))
    return session

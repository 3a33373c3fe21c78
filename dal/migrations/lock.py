"""One migrating instance at a time.

PostgreSQL: a session-level advisory lock on the connection that migrates, so that whoever loses the connection loses the
lock and its transaction together. SQLite: `BEGIN IMMEDIATE`, which also makes its DDL transactional. A pooler between
(PgBouncer) is refused: in transaction mode the lock would stay on a server session that nobody can unlock any more.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from logging import getLogger

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, OperationalError

from dal.errors import DeadlineExceeded, UnsupportedError

__all__ = ["exclusive"]

log = getLogger("dal.migrations")

# Key of the advisory lock: "dal" in ASCII, and 1 for migrations. Changing it lets old and new releases migrate together.
_KEY = {"room": 0x64616C, "noun": 1}
_TRY = text("SELECT pg_try_advisory_lock(:room, :noun)")
_UNLOCK = text("SELECT pg_advisory_unlock(:room, :noun)")
_HOLDER = text("""
    SELECT a.pid, a.application_name, CAST(extract(epoch FROM now() - a.backend_start) AS integer)
    FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = :room AND l.objid = :noun AND l.objsubid = 2
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")


def exclusive(connection: Connection, timeout: float) -> AbstractContextManager[None]:
    """Hold the migration lock of the connection's database.

    Args:
        connection: A connection that is in no transaction.
        timeout: Seconds to wait for another instance.

    Returns:
        A context manager. On SQLite it also commits at the end, or rolls back on an exception.

    Raises:
        DeadlineExceeded: Another instance held the lock all the time; entered, not called.
        UnsupportedError: Neither PostgreSQL nor SQLite, or a pooler between; entered.
    """
    name = connection.dialect.name
    if name not in _LOCKS:
        raise UnsupportedError(
            f"dal cannot keep several instances from migrating {name} at the same time",
            hint="use PostgreSQL or SQLite, or run `alembic upgrade head` from one place only",
        )
    return _LOCKS[name](connection, timeout)


@contextmanager
def _postgresql(connection: Connection, timeout: float) -> Iterator[None]:
    _refuse_pooler(connection)
    deadline = time.monotonic() + timeout
    told = False
    while not _try(connection):
        if time.monotonic() >= deadline:
            raise _held(connection, timeout)
        if not told:
            log.info("another instance is migrating this database; waiting up to %g s", timeout)
            told = True
        # Asked again and again, not waited for inside the server: a statement that waits there holds a snapshot, and
        # CREATE INDEX CONCURRENTLY of the instance that migrates would wait for it, each for the other.
        time.sleep(max(0.0, min(random.uniform(0.05, 0.25), deadline - time.monotonic())))
    try:
        yield
    finally:
        _unlock(connection)


def _refuse_pooler(connection: Connection) -> None:
    greeted = getattr(getattr(connection.connection.driver_connection, "info", None), "backend_pid", None)
    answered = connection.scalar(text("SELECT pg_backend_pid()"))
    connection.rollback()
    # A pooler greets with a process id of its own making; not every driver keeps it.
    if greeted is not None and greeted != answered:
        raise UnsupportedError(
            "the connection goes through a pooler such as PgBouncer, which does not keep the lock that makes migrations safe",
            hint="migrate through the server's own host and port",
        )


def _try(connection: Connection) -> bool:
    taken = bool(connection.scalar(_TRY, _KEY))
    connection.rollback()  # ends the transaction; a session-level lock stays
    return taken


def _unlock(connection: Connection) -> None:
    try:
        connection.rollback()
        connection.execute(_UNLOCK, _KEY)
        connection.rollback()
    except DBAPIError:
        # The server drops the lock with the session; a half-dead session must not carry it back into a pool.
        connection.invalidate()


def _held(connection: Connection, timeout: float) -> DeadlineExceeded:
    holder = connection.execute(_HOLDER, _KEY).first()
    connection.rollback()
    who = f" (server process {holder[0]}, {holder[1] or 'no application name'}, connected for {holder[2]} s)" if holder else ""
    return DeadlineExceeded(
        f"another instance{who} has been migrating this database for more than {timeout:g} s",
        hint=f"wait for it, or raise lock_timeout; if it hangs: SELECT pg_terminate_backend({holder[0] if holder else 'pid'})",
    )


@contextmanager
def _sqlite(connection: Connection, timeout: float) -> Iterator[None]:
    # Without AUTOCOMMIT the driver opens transactions of its own accord, but not before DDL.
    connection.execution_options(isolation_level="AUTOCOMMIT")
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(timeout * 1000)}")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except OperationalError as error:
        raise DeadlineExceeded(
            f"another process has been writing to this SQLite file for more than {timeout:g} s",
            hint="wait for it, or raise lock_timeout",
        ) from error
    try:
        yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


_LOCKS: dict[str, Callable[[Connection, float], AbstractContextManager[None]]] = {
    "postgresql": _postgresql,
    "sqlite": _sqlite,
}

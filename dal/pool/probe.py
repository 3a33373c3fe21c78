"""Is this connection alive? A peek at its socket costs a microsecond, a ping costs a round trip and has a deadline.

Both work on libpq's connection (psycopg's `pgconn`), for psycopg's sync and async connections alike, and read nothing that
belongs to the application: a notification that is waiting stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from psycopg import pq
from psycopg.errors import Error

from dal.pool.entry import Verdict
from dal.pool.looking import HANG_UP, Look
from dal.pool.runtime import READ, WRITE, Runtime

__all__ = ["DriverProbe", "Probe"]

_GOOD_RESULTS = {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY}


class Probe:
    """The checks of one connection.

    Args:
        dbapi_connection: SQLAlchemy's DBAPI connection, to notice when it is replaced.
        pgconn: libpq's connection.
        threads: Whether threads share the pool, or the tasks of one event loop.

    Attributes:
        peek: Looks at the socket without waiting (called with 0): something is there, so the connection may have ended.
        complaint: What the server said to a ping that it refused.
    """

    __slots__ = ("_look", "_own", "_pgconn", "complaint", "dbapi_connection", "peek", "socket")

    def __init__(self, dbapi_connection: Any, pgconn: pq.abc.PGconn, *, threads: bool) -> None:
        self.dbapi_connection = dbapi_connection
        self._pgconn = pgconn
        self.socket = pgconn.socket
        self._own, self._look = Look(self.socket, threads=threads), Look(self.socket, threads=threads)
        self.peek = self._own.poll
        self.complaint = ""

    def hung_up(self) -> bool:
        """Tell whether the other end is gone, as far as that can be seen without reading; under the pool's lock.

        A borrower may take the connection meanwhile, so nothing is read here, and the poll is not the borrower's own.
        """
        return bool(self._look.events() & HANG_UP)

    def ping(self, query: bytes, runtime: Runtime, seconds: float) -> Verdict:
        """Send a query and wait for its result.

        Args:
            query: The statement, in the simple protocol: no transaction, no preparing.
            runtime: Who waits.
            seconds: The deadline.

        Returns:
            ALIVE, DEAD when the connection or the query failed, or SILENT when there was no answer in time.
        """
        outcome = [Verdict.DEAD]
        try:
            answered = runtime.drive(self._exchange(query, outcome), self.socket, monotonic() + seconds)
        except (Error, OSError, ValueError):
            return Verdict.DEAD
        return outcome[0] if answered else Verdict.SILENT

    def _exchange(self, query: bytes, outcome: list[Verdict]) -> Iterator[int]:
        pgconn = self._pgconn
        pgconn.send_query(query)
        while pgconn.flush():
            yield WRITE
        good = True
        while True:
            while pgconn.is_busy():
                yield READ
                self._read()
            result = pgconn.get_result()
            if result is None:
                break
            if result.status not in _GOOD_RESULTS:
                good = False
                self.complaint = result.error_message.decode(errors="replace").strip()
        if good and pgconn.status == pq.ConnStatus.OK:
            outcome[0] = Verdict.ALIVE

    def _read(self) -> None:
        self._pgconn.consume_input()
        # As psycopg does after reading: a notification goes to the connection's handlers or its backlog.
        while (note := self._pgconn.notifies()) is not None:
            if self._pgconn.notify_handler is not None:
                self._pgconn.notify_handler(note)


class DriverProbe:
    """The checks of a connection whose driver is not psycopg: what its dialect offers, without a deadline of ours."""

    __slots__ = ("_ping", "complaint", "dbapi_connection")

    def __init__(self, dbapi_connection: Any, ping: Callable[[Any], bool]) -> None:
        self.dbapi_connection, self._ping = dbapi_connection, ping
        self.complaint = ""

    def peek(self, _: int) -> bool:
        """Nothing can be seen without asking."""
        return False

    def hung_up(self) -> bool:
        """Nothing can be seen without asking."""
        return False

    def ping(self, query: bytes, runtime: Runtime, seconds: float) -> Verdict:
        """Let the dialect ask its own way."""
        try:
            return Verdict.ALIVE if self._ping(self.dbapi_connection) else Verdict.DEAD
        except Exception as error:
            self.complaint = str(error)
            return Verdict.DEAD

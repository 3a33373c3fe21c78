"""Is this connection alive? A peek at its socket costs a microsecond, a ping costs a round trip and has a deadline.

Both work on libpq's connection (psycopg's `pgconn`), for psycopg's sync and async connections alike, and read nothing that
belongs to the application: a notification that is waiting stays where it is.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from psycopg import pq
from psycopg.errors import Error

from dal.pool.entry import Verdict
from dal.pool.runtime import READ, WRITE, Runtime

__all__ = ["DriverProbe", "Probe"]

_READS = 8
_GOOD_RESULTS = {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY}


class Probe:
    """The checks of one connection.

    Args:
        dbapi_connection: SQLAlchemy's DBAPI connection, to notice when it is replaced.
        pgconn: libpq's connection.
    """

    __slots__ = ("_poll", "_pgconn", "dbapi_connection", "socket")

    def __init__(self, dbapi_connection: Any, pgconn: pq.abc.PGconn) -> None:
        self.dbapi_connection = dbapi_connection
        self._pgconn = pgconn
        self.socket = pgconn.socket
        self._poll = _poller(self.socket)

    def quiet(self) -> bool:
        """Tell whether the socket has nothing to say: then the other end has not hung up."""
        return not self._poll(0)

    def hung_up(self) -> bool:
        """Tell whether the other end is gone, reading ahead where that is needed to know."""
        try:
            for _ in range(_READS):
                if self.quiet():
                    break
                self._pgconn.consume_input()
        except Error:
            return True
        return self._pgconn.status == pq.ConnStatus.BAD

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
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                break
            good = good and result.status in _GOOD_RESULTS
        if good and pgconn.status == pq.ConnStatus.OK:
            outcome[0] = Verdict.ALIVE


class DriverProbe:
    """The checks of a connection whose driver is not psycopg: what its dialect offers, without a deadline of ours."""

    __slots__ = ("_ping", "dbapi_connection")

    def __init__(self, dbapi_connection: Any, ping: Callable[[Any], bool]) -> None:
        self.dbapi_connection, self._ping = dbapi_connection, ping

    def quiet(self) -> bool:
        """Nothing can be seen without asking."""
        return True

    def hung_up(self) -> bool:
        """Nothing can be seen without asking."""
        return False

    def ping(self, query: bytes, runtime: Runtime, seconds: float) -> Verdict:
        """Let the dialect ask its own way."""
        try:
            return Verdict.ALIVE if self._ping(self.dbapi_connection) else Verdict.DEAD
        except Exception:
            return Verdict.DEAD


def _poller(handle: int) -> Any:
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(handle, select.POLLIN | select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0))
        return poll.poll
    return lambda _: select.select([handle], [], [handle], 0)[0]

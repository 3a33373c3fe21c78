"""A connection that speaks the streaming replication protocol, on psycopg's own libpq layer.

psycopg has no replication interface; its `pq` layer carries COPY_BOTH, which is all the protocol needs. Nothing here knows
what the bytes mean beyond the two envelopes of the protocol: data and keepalive.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from time import monotonic, time

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from dal.streams.waiting import Waiting

__all__ = ["CONNECTION_LOST", "Wire", "connect"]

CONNECTION_LOST = psycopg.errors.lookup("08006")
"""What is raised where a connection ended without a word."""

_EPOCH_SECONDS = 946_684_800
_STATUS = struct.Struct("!cQQQqB")


class Wire:
    """One libpq connection, used by one thread or task at a time.

    Args:
        conn: The connection.
        waiting: How to wait.
    """

    def __init__(self, conn: pq.abc.PGconn, waiting: Waiting) -> None:
        self.conn = conn
        self._waiting = waiting
        self._streaming = False

    def query(self, statement: str, *, seconds: float) -> list[tuple[str | None, ...]]:
        """Run one statement and return its rows as text.

        Args:
            statement: A replication command or SQL.
            seconds: How long it may take.

        Raises:
            psycopg.Error: The server refused it, did not answer in time (QueryCanceled), or the connection was lost.
        """
        self.conn.send_query(statement.encode())
        until = monotonic() + seconds
        rows: list[tuple[str | None, ...]] = []
        while True:
            self._flush()
            while self.conn.is_busy():
                left = until - monotonic()
                if left <= 0 or self._waiting.stopped:
                    raise psycopg.errors.QueryCanceled(f"no answer within {seconds:.0f} s")
                self._waiting.ready(self.conn.socket, left)
                self._consume()
            result = self.conn.get_result()
            if result is None:
                return rows
            if result.status == pq.ExecStatus.COPY_BOTH:
                self._streaming = True
                return rows
            if result.status not in {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK}:
                raise _error(self.conn, result)
            rows.extend(
                tuple(_text(result.get_value(row, column)) for column in range(result.nfields)) for row in range(result.ntuples)
            )

    def wait(self, seconds: float, *, last: bool = False) -> bool:
        """Wait for data and take in what came.

        Args:
            seconds: How long at most.
            last: Wait even when told to stop.

        Returns:
            Whether something came.
        """
        if not self._waiting.ready(self.conn.socket, seconds, last=last):
            return False
        self._consume()
        return True

    def notified(self) -> bool:
        """Take the notifications that came; tell whether there were any."""
        found = False
        while self.conn.notifies() is not None:
            found = True
        return found

    def ended(self) -> psycopg.Error:
        """Make the error of a stream that the server ended."""
        self._streaming = False
        result = self.conn.get_result()
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            return _error(self.conn, result)
        return CONNECTION_LOST("the server ended the stream")

    def report(self, received: int, confirmed: int, *, reply: bool = False) -> None:
        """Tell the server how far the stream was received, and how far it never has to be sent again.

        Args:
            received: The end of what came.
            confirmed: The end of what is done with.
            reply: Ask for an answer, which carries the server's clock.
        """
        clock = int((time() - _EPOCH_SECONDS) * 1e6)
        self.conn.put_copy_data(_STATUS.pack(b"r", max(received, confirmed), confirmed, confirmed, clock, int(reply)))
        self._flush()

    def close(self, seconds: float = 1.0) -> None:
        """End the stream and the connection; the server has then let go of the slot, or soon will.

        Args:
            seconds: How long to wait for the server's last word.
        """
        try:
            if self._streaming:
                self.conn.put_copy_end()
                self._flush()
                self._drain(monotonic() + seconds)
        except psycopg.Error:
            pass
        finally:
            self.conn.finish()

    def _drain(self, until: float) -> None:
        count = 1
        while count >= 0 and monotonic() < until:
            count, _ = self.conn.get_copy_data(1)
            if count == 0 and not self.wait(until - monotonic(), last=True):
                return
        while monotonic() < until:
            if self.conn.is_busy():
                self.wait(until - monotonic(), last=True)
            elif self.conn.get_result() is None:
                return

    def _consume(self) -> None:
        try:
            self.conn.consume_input()
        except psycopg.Error as error:
            raise CONNECTION_LOST(str(error)) from error

    def _flush(self) -> None:
        try:
            while self.conn.flush():
                self._waiting.ready(self.conn.socket, 1.0, write=True)
                if self._waiting.stopped:
                    return
                self.conn.consume_input()
        except psycopg.Error as error:
            raise CONNECTION_LOST(str(error)) from error


def connect(parameters: Sequence[tuple[str, str]], waiting: Waiting, *, seconds: float, replication: bool) -> Wire:
    """Connect.

    Args:
        parameters: libpq's connection parameters.
        waiting: How to wait.
        seconds: How long to try.
        replication: Whether the connection is to speak the replication protocol.

    Raises:
        psycopg.OperationalError: It could not be made.
    """
    given = {**dict(parameters), **({"replication": "database"} if replication else {})}
    conninfo = make_conninfo("", **given).encode()
    conn = waiting.aside(lambda: pq.PGconn.connect_start(conninfo))
    until = monotonic() + seconds
    state: int = pq.PollingStatus.WRITING
    while conn.status != pq.ConnStatus.BAD:
        left = until - monotonic()
        if left <= 0 or waiting.stopped:
            conn.finish()
            raise psycopg.errors.ConnectionTimeout("connection timeout expired")
        if not waiting.ready(conn.socket, left, write=state == pq.PollingStatus.WRITING):
            continue
        state = conn.connect_poll()
        if state == pq.PollingStatus.OK:
            conn.nonblocking = 1
            return Wire(conn, waiting)
        if state == pq.PollingStatus.FAILED:
            break
    message = conn.get_error_message()
    conn.finish()
    raise psycopg.OperationalError(message)


def _error(conn: pq.abc.PGconn, result: pq.abc.PGresult) -> psycopg.Error:
    state = _text(result.error_field(pq.DiagnosticField.SQLSTATE))
    message = _text(result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)) or result.get_error_message()
    if state is None:
        return CONNECTION_LOST(message)
    try:
        return psycopg.errors.lookup(state)(message)
    except KeyError:
        return psycopg.DatabaseError(message)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()

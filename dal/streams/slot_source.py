"""Reads a replication slot: connects, streams, acknowledges, and connects again after the server was away.

What was read before a connection was lost is not given out again: the server repeats everything not yet acknowledged, and
the source leaves out what it has given already, to the change.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from dal.errors import ConnectFailed, DalError, ReplicationError, UsageError
from dal.events import Retried
from dal.pool.connecting import target
from dal.pool.retry import rule_for
from dal.streams.change import Change
from dal.streams.decode import Decoder
from dal.streams.marks import forget
from dal.streams.options import SlotOptions
from dal.streams.position import lsn_from, lsn_text
from dal.streams.progress import Progress
from dal.streams.server import asked_of, domains, log_end, parameters, types_of
from dal.streams.shapes import Shape
from dal.streams.slot import Slot
from dal.streams.waiting import Waiting
from dal.streams.wire import CONNECTION_LOST, Wire, connect

__all__ = ["SlotSource"]

_CONNECT, _MAKE, _STATUS_EVERY, _LEAVING, _SHUTDOWN_PINGS = 10.0, 60.0, 1.0, 3.0, 20
_DATA, _KEEPALIVE = struct.Struct("!QQq").unpack_from, struct.Struct("!QqB").unpack_from


class SlotSource:
    """One consumer of one slot.

    Args:
        engine: The application's engine; only for looking and making, the stream has a connection of its own.
        shapes: What is asked for.
        name: The stream's name; None for a temporary slot.
        options: How to read.
        waiting: How to wait.
        tell: Called with a fact for each new try to connect.
    """

    def __init__(
        self,
        engine: Engine,
        shapes: tuple[Shape, ...],
        name: str | None,
        options: SlotOptions,
        waiting: Waiting,
        tell: Callable[[object], None] | None = None,
    ) -> None:
        self._engine, self._shapes, self._options, self._waiting, self._tell = engine, shapes, options, waiting, tell
        self._slot = Slot(name, options.publication)
        self.stream, self.origin = self._slot.stream, ""
        self._parameters: list[tuple[str, str]] = []
        self._wire: Wire | None = None
        self._decoder: Decoder | None = None
        self._progress = Progress()
        self._reported, self._reported_at = 0, 0.0
        self._pings, self._tries = 0, 0
        self._once_connected = False
        self._closed = False

    @property
    def mark(self) -> str:
        """Where the last transaction that was read completely ends."""
        return lsn_text(self._progress.mark)

    @property
    def between(self) -> bool:
        """Whether no transaction is half read."""
        return self._decoder is None or self._decoder.transaction is None

    @property
    def clock(self) -> float:
        """The server's time up to which everything committed was read."""
        return self._progress.clock

    def lag(self) -> int:
        """Bytes of log that were received and are not done with."""
        return max(0, self._progress.received - self._progress.confirmed)

    def prepare(self) -> None:
        """Make publication and slot where missing, and check them.

        Raises:
            ReplicationError: The server or a table cannot give the stream.
            SlotLost: The slot is gone or useless.
            ConnectFailed: There is no connection to be had.
        """
        if self._decoder is not None:
            return
        wire: Wire | None = None
        try:
            with self._autocommit() as connection:
                options = self._options
                asked, facts = asked_of(connection, self._shapes, options.kinds, full=options.full, outbox=False)
                self._slot.look(connection)
                self.origin = self._slot.origin
                quote = connection.dialect.identifier_preparer.quote
                names = sorted({f"{quote(found.schema)}.{quote(found.name)}" for found in facts.values()})
                self._slot.publish(connection, names, options.kinds)
                self._parameters = parameters(connection)
                types = types_of(connection, self._domains)
                if not self._slot.exists:
                    wire = self._connected()
                    self._slot.make(wire, connection, seconds=_MAKE)
        except BaseException:
            if wire is not None:
                wire.close()
            raise
        self._decoder = Decoder(asked, types, options.kinds, self)
        if wire is not None and self._slot.temporary:
            self._wire = wire
        elif wire is not None:
            wire.close()

    def start(self, after: str | None) -> None:
        """Connect, and begin behind a mark.

        Args:
            after: What `mark` said; None: behind what was acknowledged.

        Raises:
            SlotLost: The slot was made only now, though a mark says that there was one.
        """
        self.prepare()
        if after is not None and self._slot.was_made:
            raise self._slot.lost("its slot was dropped, and there is a new one")
        self._slot.was_made = False
        self._drop_connection(keep=self._slot.temporary and not self._once_connected)
        self._progress.restart(0 if after is None else lsn_from(after))
        self._waiting_to_connect()

    def read(self, limit: int, seconds: float) -> list[Change]:
        """Return the next changes as soon as there are some, whole transactions as far as the limit allows.

        After half of a transaction it returns at its end, whether or not changes were left of it.

        Args:
            limit: About how many at most.
            seconds: How long to wait; none came when it is over, or when stopped.

        Raises:
            ReplicationError: The stream cannot go on.
        """
        until = monotonic() + seconds
        found: list[Change] = []
        rest = not self.between
        while not self._waiting.stopped and not ((found or rest) and (self.between or len(found) >= limit)):
            try:
                if self._wire is None:
                    self._waiting_to_connect()
                    continue
                if not self._take(self._wire, found, limit):
                    left = until - monotonic()
                    if not self._wire.wait(max(0.0, min(left, _STATUS_EVERY))) and left <= 0:
                        break
            except psycopg.Error as error:
                self._lost(error)
        return found

    def ask_clock(self) -> None:
        """Ask the server for its time, and where its log ends then: once all that was read, `clock` says so."""
        if self._wire is None or self._waiting.stopped:
            return
        try:
            if self._progress.horizon is None:
                with self._engine.connect() as connection:
                    self._progress.horizon = log_end(connection)
            self._report(self._wire, reply=True)
        except psycopg.Error as error:
            self._lost(error)
        except (DBAPIError, DalError):
            pass  # the server is away, which the stream's own connection will notice

    def acknowledge(self, change: Change) -> None:
        """Note that everything up to a change is done with.

        Args:
            change: The change.

        Raises:
            UsageError: The stream is closed.
        """
        if self._closed:
            raise UsageError("the stream is closed", hint="call change.ack() inside the loop, before it ends")
        self._progress.acknowledge(change, between=self.between)

    def acknowledge_all(self) -> None:
        """Note that everything read so far is done with."""
        self._progress.acknowledge_all(between=self.between)

    def close(self) -> None:
        """Tell the server what is done with, and disconnect; a temporary stream leaves nothing."""
        if self._closed:
            return
        self._closed = True
        self._drop_connection()
        if self._slot.temporary and self._decoder is not None:
            # Where the server is away, `dal changes prune` takes what is left.
            with suppress(DBAPIError, DalError), self._autocommit() as connection:
                self._slot.drop(connection, self._waiting, seconds=_LEAVING)

    def drop(self) -> None:
        """Drop slot and publication, when whoever reads it now is gone within `takeover`."""
        self.close()
        with self._autocommit() as connection:
            self._slot.drop(connection, self._waiting, seconds=self._options.takeover)
            forget(connection, self.stream)
        self._decoder = None

    def _take(self, wire: Wire, found: list[Change], limit: int) -> bool:
        """Handle what has arrived; tell whether anything had."""
        decoder = self._decoder
        assert decoder is not None
        receive, row = wire.conn.get_copy_data, decoder.row
        anything = False
        while len(found) < limit:
            count, data = receive(1)
            if count <= 0:
                if count < 0:
                    raise wire.ended()
                self._report_if_due(wire)
                break
            anything = True
            message = bytes(data)
            if message[0] == 119:  # w, data
                body = message[25:]
                kind = body[0]
                if kind == 66:  # B
                    self._tries = self._pings = 0
                    self._progress.begin(decoder, body)
                elif kind == 67:  # C
                    self._progress.commit(decoder, body, found)
                else:
                    row(body, found)
            elif message[0] == 107:  # k, keepalive
                self._kept_alive(wire, message)
        return anything

    def _kept_alive(self, wire: Wire, message: bytes) -> None:
        end, _, reply = _KEEPALIVE(message, 1)
        if self.between:
            self._progress.heard(end)
        if not reply:
            return
        self._report(wire)
        self._pings += 1
        if self._pings > _SHUTDOWN_PINGS and self._progress.waits:
            # A server that shuts down asks without pause until all is confirmed. What is not done with cannot be: let it go.
            raise CONNECTION_LOST("the server is shutting down")

    def _report_if_due(self, wire: Wire) -> None:
        now = monotonic()
        if self._progress.confirmed > self._reported or now - self._reported_at >= _STATUS_EVERY:
            if now - self._reported_at >= _STATUS_EVERY:
                self._pings = 0
            self._report(wire)

    def _report(self, wire: Wire, *, reply: bool = False) -> None:
        wire.report(self._progress.received, self._progress.confirmed, reply=reply)
        self._reported, self._reported_at = self._progress.confirmed, monotonic()

    def _waiting_to_connect(self) -> None:
        """Connect and start streaming, trying again by the table of the pool."""
        since = monotonic()
        while not self._waiting.stopped:
            try:
                self._stream()
            except psycopg.errors.ObjectInUse as error:
                if monotonic() - since > self._options.takeover:
                    raise ReplicationError(
                        f"the stream {self.stream!r} is read by another consumer: {error}",
                        hint="give each consumer a name of its own, or let this one wait longer: takeover='1h'",
                    ) from error
                self._waiting.rest(0.05)
            except (psycopg.Error, ConnectFailed, DBAPIError) as error:
                self._lost(error)
            else:
                self._once_connected = True
                return

    def _stream(self) -> None:
        if self._slot.temporary and self._once_connected:
            raise self._slot.lost("it has no name, and its connection was lost")
        wire = self._wire if self._wire is not None else self._connected()
        try:
            begin = lsn_text(self._progress.confirmed)
            wire.query(
                f"START_REPLICATION SLOT {self._slot.slot} LOGICAL {begin}"
                f" (proto_version '1', publication_names '\"{self._slot.publication}\"')",
                seconds=_CONNECT,
            )
        except BaseException:
            wire.close()
            self._wire = None
            raise
        assert self._decoder is not None
        self._decoder.forget()
        self._reported_at = 0.0
        self._wire = wire

    def _connected(self) -> Wire:
        try:
            return connect(self._parameters, self._waiting, seconds=_CONNECT, replication=True)
        except psycopg.Error as error:
            text = str(error)
            refused = "WAL sender" in text or "walsender" in text or "no pg_hba.conf entry for replication" in text
            if refused or ("max_wal_senders" in text and not self._once_connected):
                raise ReplicationError(
                    f"the server does not let this role stream: {' '.join(text.split())}",
                    hint="ALTER ROLE ... REPLICATION, and a line in pg_hba.conf; where max_wal_senders is used up, raise it",
                ) from error
            failure = target(self._engine.dialect).failure(error)
            raise failure from error

    def _lost(self, error: Exception) -> None:
        """Drop the connection and pause before the next one, or raise what ends the stream."""
        self._drop_connection()
        if self._waiting.stopped:
            return
        state = getattr(error, "sqlstate", None)
        if state == "42704" and "publication" in str(error):
            raise ReplicationError(f"the stream {self.stream!r} ended: {error}", hint="db.changes(...).drop(), and begin anew")
        if state == "42704" or (state == "55000" and not isinstance(error, ConnectFailed)):
            raise self._slot.lost(str(error)) from error
        if state is None and isinstance(error, psycopg.OperationalError):
            error = CONNECTION_LOST(str(error))
        rule = rule_for(error)
        self._tries += 1
        if rule is None or (not self._once_connected and self._tries > self._options.retry_attempts):
            if isinstance(error, DalError):
                raise error
            raise ReplicationError(f"the stream {self.stream!r} ended: {error}", hint="see the server's log") from error
        seconds = rule.seconds(min(self._tries, 8), self._options.retry_delay)
        if self._tell is not None:
            self._tell(Retried(self._tries, seconds, error))
        if self._slot.temporary and self._once_connected:
            raise self._slot.lost("it has no name, and its connection was lost") from error
        self._waiting.rest(seconds)

    def _drop_connection(self, *, keep: bool = False) -> None:
        if self._wire is None or keep:
            return
        wire, self._wire = self._wire, None
        decoder = self._decoder
        if decoder is not None:
            self._progress.interrupted(decoder)
        with suppress(psycopg.Error):
            self._report(wire)
        wire.close()

    def _autocommit(self) -> Connection:
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def _domains(self) -> Any:
        with self._engine.connect() as connection:
            return domains(connection)

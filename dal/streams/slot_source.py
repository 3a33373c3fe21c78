"""Reads a replication slot: connects, streams, acknowledges, and connects again after the server was away.

What was read before a connection was lost is not given out again: the server repeats everything not yet acknowledged, and
the source leaves out what it has given already, to the change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

import psycopg
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from dal.errors import ConnectFailed, DalError, ReplicationError, SlotLost, UsageError
from dal.streams.change import Change
from dal.streams.decode import Decoder
from dal.streams.known import autocommit, known_of
from dal.streams.link import STATUS_EVERY, Link
from dal.streams.marks import forget
from dal.streams.options import SlotOptions
from dal.streams.position import lsn_from, lsn_text
from dal.streams.progress import Progress
from dal.streams.server import log_end
from dal.streams.shapes import Shape
from dal.streams.slot import Slot
from dal.streams.trying import Trying
from dal.streams.waiting import Waiting
from dal.streams.wire import Wire

__all__ = ["SlotSource"]

_MAKE, _LEAVING = 60.0, 3.0


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
        self._engine, self._shapes, self._options, self._waiting = engine, shapes, options, waiting
        self._slot = Slot(name, options.publication)
        self.stream, self.origin = self._slot.stream, ""
        self._parameters: Sequence[tuple[str, str]] = ()
        self._decoder: Decoder | None = None
        self._progress = Progress()
        self._link = Link(engine, waiting, self._progress, patience=options.takeover)
        self._trying = Trying(self.stream, options, waiting, tell)
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
            with autocommit(self._engine) as connection:
                options = self._options
                known = known_of(self._engine, connection, self._shapes, options, outbox=False)
                self._parameters = known.parameters
                self._slot.look(connection)
                self.origin = self._slot.origin
                quote = connection.dialect.identifier_preparer.quote
                names = sorted({f"{quote(found.schema)}.{quote(found.name)}" for found in known.facts.values()})
                self._slot.publish(connection, names, options.kinds)
                if not self._slot.exists:
                    wire = self._link.connect(self._parameters)
                    self._slot.make(wire, connection, seconds=_MAKE)
        except BaseException:
            if wire is not None:
                wire.close()
            raise
        self._decoder = Decoder(known.asked, known.types, options.kinds, self)
        if wire is not None and self._slot.temporary:
            self._link.wire = wire
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
        if not self._slot.temporary or self._link.was_up:
            self._disconnect()
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
                wire = self._link.wire
                if wire is None:
                    self._waiting_to_connect()
                    continue
                if not self._take(wire, found, limit):
                    left = until - monotonic()
                    if not wire.wait(max(0.0, min(left, STATUS_EVERY))) and left <= 0:
                        break
            except psycopg.Error as error:
                self._lost(error)
        return found

    def ask_clock(self) -> None:
        """Ask the server for its time, and where its log ends then: once all that was read, `clock` says so."""
        if self._link.wire is None or self._waiting.stopped:
            return
        try:
            if self._progress.horizon is None:
                with self._engine.connect() as connection:
                    self._progress.horizon = log_end(connection)
            self._link.report(reply=True)
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
        self._disconnect()
        if self._slot.temporary and self._decoder is not None:
            # Where the server is away, `dal changes prune` takes what is left.
            with suppress(DBAPIError, DalError), autocommit(self._engine) as connection:
                self._slot.drop(connection, self._waiting, seconds=_LEAVING)

    def drop(self) -> None:
        """Drop slot and publication, when whoever reads it now is gone within `takeover`."""
        self.close()
        with autocommit(self._engine) as connection:
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
                self._link.report_if_due()
                break
            anything = True
            message = bytes(data)
            if message[0] == 119:  # w, data
                body = message[25:]
                kind = body[0]
                if kind == 66:  # B
                    self._trying.succeeded()
                    self._link.heard_of()
                    self._progress.begin(decoder, body)
                elif kind == 67:  # C
                    self._progress.commit(decoder, body, found)
                else:
                    row(body, found)
            elif message[0] == 107:  # k, keepalive
                self._link.kept_alive(message, between=self.between)
        return anything

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
                return

    def _stream(self) -> None:
        if self._slot.temporary and self._link.was_up:
            raise self._nameless()
        assert self._decoder is not None
        self._link.stream(self._slot, self._parameters)
        self._decoder.forget()

    def _lost(self, error: Exception) -> None:
        """Drop the connection and pause before the next one, or raise what ends the stream."""
        self._disconnect()
        if self._waiting.stopped:
            return
        state = getattr(error, "sqlstate", None)
        if state == "42704" and "publication" in str(error):
            raise ReplicationError(f"the stream {self.stream!r} ended: {error}", hint="db.changes(...).drop(), and begin anew")
        if state == "42704" or (state == "55000" and not isinstance(error, ConnectFailed)):
            raise self._slot.lost(str(error)) from error
        up = self._link.was_up
        gone = self._nameless() if self._slot.temporary and up else None
        self._trying.pause(error, lost=gone, at_most=None if up else self._options.retry_attempts)

    def _nameless(self) -> SlotLost:
        return self._slot.lost("it has no name, and its connection was lost")

    def _disconnect(self) -> None:
        if self._link.wire is not None and self._decoder is not None:
            self._progress.interrupted(self._decoder)
        self._link.close()

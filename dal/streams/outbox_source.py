"""Reads an outbox: waits for a NOTIFY, takes what is new, and gives it out as transactions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from dal.errors import ConnectFailed, DalError, ReplicationError, SlotLost, UsageError
from dal.own_statements import ask
from dal.streams.change import Change
from dal.streams.given import Given
from dal.streams.known import Known, autocommit, known_of
from dal.streams.marks import forget
from dal.streams.options import SlotOptions
from dal.streams.outbox import CHANNEL, drop_reader, make_outbox, sweep
from dal.streams.outbox_rows import OutboxRows
from dal.streams.shapes import Shape
from dal.streams.trying import Trying
from dal.streams.waiting import Waiting
from dal.streams.wire import Wire, connect

__all__ = ["OutboxSource"]

_CONNECT, _POLL, _SWEEP_EVERY = 10.0, 1.0, 5.0
_NEW = """
SELECT pg_current_snapshot()::text, extract(epoch FROM clock_timestamp())::float8,
  (SELECT json_agg(json_build_array(id, xid::text, (extract(epoch FROM at) * 1000000)::int8, relation, kind, columns, old, new)
                   ORDER BY last, xid, id)::text
   FROM (SELECT *, max(id) OVER (PARTITION BY xid) AS last FROM dal_outbox
         WHERE relation = ANY(string_to_array(%s, chr(31))) AND xid >= pg_snapshot_xmin(%s::pg_snapshot)
           AND NOT pg_visible_in_snapshot(xid, %s::pg_snapshot)) AS fresh)"""
_IDENTITY = """
SELECT system_identifier::text || '/' || (SELECT oid FROM pg_database WHERE datname = current_database())
FROM pg_control_system()"""


class OutboxSource:
    """One reader of the outbox; it reads whole transactions, as many as there are.

    Args:
        engine: The application's engine.
        shapes: What is asked for.
        name: The reader's name.
        options: How to read.
        waiting: How to wait.
        tell: Called with a fact for each new try.
    """

    between = True

    def __init__(
        self,
        engine: Engine,
        shapes: tuple[Shape, ...],
        name: str,
        options: SlotOptions,
        waiting: Waiting,
        tell: Callable[[object], None] | None = None,
    ) -> None:
        self._engine, self._shapes, self._options, self._waiting = engine, shapes, options, waiting
        self.stream, self.origin = name, ""
        self._known: Known | None = None
        self._rows: OutboxRows | None = None
        self._made = False
        self._wire: Wire | None = None
        self._mark, self._clock = "", 0.0
        self._given = Given()
        self._trying = Trying(name, options, waiting, tell)
        self._swept_at, self._closed = 0.0, False

    @property
    def mark(self) -> str:
        """The snapshot up to which everything was read."""
        return self._mark

    @property
    def clock(self) -> float:
        """The server's time up to which everything committed was read."""
        return self._clock

    def lag(self) -> int:
        """Changes that were given out and are not done with."""
        return self._given.open()

    def prepare(self) -> None:
        """Make tables, triggers and the reader where missing.

        Raises:
            ReplicationError: The role may not, or a table is missing.
        """
        if self._known is not None:
            return
        options = self._options
        with autocommit(self._engine) as connection:
            self.origin = ask(connection, _IDENTITY)[0]
            known = known_of(self._engine, connection, self._shapes, options, outbox=True)
            self._made = make_outbox(connection, self.stream, list(known.facts.values()), options.kinds)
        self._known = known

    def start(self, after: str | None) -> None:
        """Listen, and begin behind a mark.

        Args:
            after: What `mark` said; None: behind what was acknowledged.

        Raises:
            SlotLost: The reader was made only now, though a mark says that there was one.
        """
        self.prepare()
        if after is not None and self._made:
            raise SlotLost(
                f"the stream {self.stream!r} has lost changes: its outbox was dropped, and there is a new one",
                hint="db.changes(...).drop() forgets its position; then read the tables anew",
            )
        self._made = False
        self._given.clear()
        assert self._known is not None
        self._rows = OutboxRows(self._engine, self._known, self._options.kinds, self)
        with autocommit(self._engine) as connection:
            found = ask(connection, "SELECT snapshot::text FROM dal_outbox_readers WHERE name = %s", self.stream)
        if not found:
            raise ReplicationError(f"the outbox has no reader {self.stream!r}", hint="db.changes(...).drop(), and begin anew")
        self._mark = after or found[0]

    def read(self, limit: int, seconds: float) -> list[Change]:
        """Return the next changes, all there are, as soon as there are some.

        Args:
            limit: Not kept to: transactions are whole.
            seconds: How long to wait.

        Raises:
            ReplicationError: The stream cannot go on.
        """
        until = monotonic() + seconds
        while not self._waiting.stopped:
            try:
                wire = self._listening()
                found = self._fresh()
                self._trying.succeeded()
                if found or (left := until - monotonic()) <= 0:
                    return found
                if wire.wait(min(left, _POLL)):
                    wire.notified()
            except (psycopg.Error, DBAPIError, ConnectFailed) as error:
                self._lost(error)
        return []

    def ask_clock(self) -> None:
        """Do nothing: every look tells the time."""

    def acknowledge(self, change: Change) -> None:
        """Note that everything up to a change is done with.

        Args:
            change: The change.

        Raises:
            UsageError: The stream is closed.
        """
        if self._closed:
            raise UsageError("the stream is closed", hint="call change.ack() inside the loop, before it ends")
        self._given.acknowledge(change)

    def acknowledge_all(self) -> None:
        """Note that everything read so far is done with."""
        self._given.acknowledge_all()

    def close(self) -> None:
        """Write down what is done with, and disconnect."""
        if self._closed:
            return
        self._closed = True
        if self._known is not None:
            with suppress(DBAPIError, DalError), autocommit(self._engine) as connection:
                self._settle(connection, sweeping=True)
        self._disconnect()

    def drop(self) -> None:
        """Forget the reader; with the last one triggers and tables go too."""
        self.close()
        with autocommit(self._engine) as connection:
            drop_reader(connection, self.stream)
            forget(connection, self.stream)

    def _fresh(self) -> list[Change]:
        rows, mark = self._rows, self._mark
        assert rows is not None
        with autocommit(self._engine) as connection:
            self._settle(connection)
            snapshot, clock, found = ask(connection, _NEW, rows.relations, mark, mark)
        changes, transactions = rows.read(found)
        self._mark, self._clock = snapshot, clock
        self._given.add(snapshot, transactions)
        return changes

    def _settle(self, connection: Connection, *, sweeping: bool = False) -> None:
        """Write down the last snapshot whose transactions are all done with, and sweep now and then."""
        done = self._given.done()
        if done is not None:
            ask(connection, "UPDATE dal_outbox_readers SET snapshot = %s::pg_snapshot WHERE name = %s", done, self.stream)
        if sweeping or monotonic() - self._swept_at > _SWEEP_EVERY:
            self._swept_at = monotonic()
            sweep(connection)

    def _listening(self) -> Wire:
        if self._wire is None:
            assert self._known is not None
            wire = connect(self._known.parameters, self._waiting, seconds=_CONNECT, replication=False)
            wire.query(f"LISTEN {CHANNEL}", seconds=_CONNECT)
            self._wire = wire
        return self._wire

    def _lost(self, error: Exception) -> None:
        self._disconnect()
        if self._waiting.stopped:
            return
        self._trying.pause(error)

    def _disconnect(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

"""Reads an outbox: waits for a NOTIFY, takes what is new, and gives it out as transactions."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from dal.errors import ConnectFailed, DalError, ReplicationError, SlotLost, UsageError
from dal.events import Retried
from dal.own_statements import ask
from dal.pool.retry import rule_for
from dal.streams.change import Change, Transaction
from dal.streams.decode import Decoder, relation_of
from dal.streams.marks import forget
from dal.streams.options import SlotOptions
from dal.streams.outbox import CHANNEL, columns_of, drop_reader, make_outbox, row_texts, sweep
from dal.streams.server import TableFacts, asked_of, domains, parameters, types_of
from dal.streams.shapes import Shape
from dal.streams.values import Types
from dal.streams.waiting import Waiting
from dal.streams.wire import CONNECTION_LOST, Wire, connect

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
        self._engine, self._shapes, self._options, self._waiting, self._tell = engine, shapes, options, waiting, tell
        self.stream, self.origin = name, ""
        self._facts: dict[str, TableFacts] = {}
        self._decoder: Decoder | None = None
        self._types: Types | None = None
        self._asked: Any = {}
        self._made = False
        self._parameters: list[tuple[str, str]] = []
        self._wire: Wire | None = None
        self._mark, self._last, self._clock = "", 0, 0.0
        self._given: list[tuple[str, list[Transaction]]] = []
        self._swept_at, self._tries, self._closed = 0.0, 0, False

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
        return sum(each.count - each.acknowledged for _, given in self._given for each in given)

    def prepare(self) -> None:
        """Make tables, triggers and the reader where missing.

        Raises:
            ReplicationError: The role may not, or a table is missing.
        """
        if self._types is not None:
            return
        options = self._options
        with self._autocommit() as connection:
            self.origin = ask(connection, _IDENTITY)[0]
            self._asked, self._facts = asked_of(connection, self._shapes, options.kinds, full=options.full, outbox=True)
            self._made = make_outbox(connection, self.stream, list(self._facts.values()), options.kinds)
            self._parameters = parameters(connection)
            self._types = types_of(connection, self._domains)

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
        self._decoder = Decoder(self._asked, self._known(), self._options.kinds, self)
        with self._autocommit() as connection:
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
                self._tries = 0
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
        own = change._transaction
        own.acknowledged = max(own.acknowledged, change._sequence)
        for _, given in self._given:
            for each in given:
                if each is own:
                    return
                each.acknowledged = each.count

    def acknowledge_all(self) -> None:
        """Note that everything read so far is done with."""
        for _, given in self._given:
            for each in given:
                each.acknowledged = each.count

    def close(self) -> None:
        """Write down what is done with, and disconnect."""
        if self._closed:
            return
        self._closed = True
        if self._types is not None:
            with suppress(DBAPIError, DalError), self._autocommit() as connection:
                self._settle(connection, sweeping=True)
        self._disconnect()

    def drop(self) -> None:
        """Forget the reader; with the last one triggers and tables go too."""
        self.close()
        with self._autocommit() as connection:
            drop_reader(connection, self.stream)
            forget(connection, self.stream)

    def _fresh(self) -> list[Change]:
        relations = chr(31).join(f"{facts.schema}.{facts.name}" for facts in self._facts.values())
        mark = self._mark
        with self._autocommit() as connection:
            self._settle(connection)
            snapshot, clock, rows = ask(connection, _NEW, relations, mark, mark)
        changes: list[Change] = []
        given: dict[str, Transaction] = {}
        for number, xid, micros, relation, kind, columns, old, new in json.loads(rows or "[]"):
            if xid not in given:
                given[xid] = self._begin(given, changes, int(xid), micros)
            given[xid].lsn = number
            self._row(relation, kind, tuple(columns or ()), (old, new), changes)
        self._end(given, changes)
        self._mark, self._clock = snapshot, clock
        if given or not self._given:
            self._given.append((snapshot, list(given.values())))
        return changes

    def _begin(self, given: dict[str, Transaction], changes: list[Change], xid: int, micros: int) -> Transaction:
        self._end(given, changes)
        decoder = self._decoder
        assert decoder is not None
        decoder.transaction = Transaction(self, 0, xid, micros - 946_684_800_000_000)
        return decoder.transaction

    def _end(self, given: dict[str, Transaction], changes: list[Change]) -> None:
        decoder = self._decoder
        if given and decoder is not None:
            decoder.finish(changes)
            list(given.values())[-1].end = 1

    def _row(
        self, relation: str, kind: Any, names: tuple[str, ...], texts: tuple[str | None, str | None], changes: list[Change]
    ) -> None:
        decoder = self._decoder
        assert decoder is not None
        layout = decoder.layouts.get((relation, names))
        if layout is None:
            facts = next(each for each in self._facts.values() if f"{each.schema}.{each.name}" == relation)
            layout = decoder.layouts[relation, names] = self._layout(facts, names)
        old, new = (None if text is None else row_texts(text) for text in texts)
        decoder.texts(layout, kind, old, new, changes)

    def _layout(self, facts: TableFacts, names: tuple[str, ...]) -> Any:
        """Prepare for rows with these columns; one that was dropped since is left out of what is known, not of the row."""
        with self._autocommit() as connection:
            columns = {name: (name, oid, key) for name, oid, key in columns_of(connection, facts)}
        return relation_of(
            [columns.get(name, (name, 25, False)) for name in names], self._asked[facts.schema, facts.name], self._known()
        )

    def _settle(self, connection: Connection, *, sweeping: bool = False) -> None:
        """Write down the last snapshot whose transactions are all done with, and sweep now and then."""
        done = None
        while self._given and all(each.acknowledged >= each.count for each in self._given[0][1]):
            done = self._given.pop(0)[0]
        if done is not None:
            ask(connection, "UPDATE dal_outbox_readers SET snapshot = %s::pg_snapshot WHERE name = %s", done, self.stream)
        if sweeping or monotonic() - self._swept_at > _SWEEP_EVERY:
            self._swept_at = monotonic()
            sweep(connection)

    def _listening(self) -> Wire:
        if self._wire is None:
            wire = connect(self._parameters, self._waiting, seconds=_CONNECT, replication=False)
            wire.query(f"LISTEN {CHANNEL}", seconds=_CONNECT)
            self._wire = wire
        return self._wire

    def _lost(self, error: Exception) -> None:
        self._disconnect()
        if self._waiting.stopped:
            return
        if getattr(error, "sqlstate", None) is None and isinstance(error, psycopg.OperationalError):
            error = CONNECTION_LOST(str(error))
        rule = rule_for(error)
        self._tries += 1
        if rule is None:
            raise ReplicationError(f"the stream {self.stream!r} ended: {error}", hint="see the server's log") from error
        seconds = rule.seconds(min(self._tries, 8), self._options.retry_delay)
        if self._tell is not None:
            self._tell(Retried(self._tries, seconds, error))
        self._waiting.rest(seconds)

    def _disconnect(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def _known(self) -> Types:
        assert self._types is not None
        return self._types

    def _autocommit(self) -> Connection:
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def _domains(self) -> Any:
        with self._engine.connect() as connection:
            return domains(connection)

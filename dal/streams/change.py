"""One change of one row, as its class knows it, and the transaction it came in.

What `old` holds is the server's to decide. An insert has none. With the table's default REPLICA IDENTITY an update or delete
has the primary key as it was, and nothing else; after `ALTER TABLE orders REPLICA IDENTITY FULL` it has the whole row.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final, Literal, Protocol

from dal.streams.position import Position

__all__ = ["EPOCH", "UNCHANGED", "Change", "Kind", "Transaction"]

Kind = Literal["insert", "update", "delete", "truncate"]
"""What happened to a row; truncate: to all of a table."""

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""Where PostgreSQL's clock starts."""

_TO_UNIX = 946_684_800_000_000


class _Unchanged(Enum):
    UNCHANGED = "unchanged"

    def __repr__(self) -> str:
        return "UNCHANGED"

    def __bool__(self) -> bool:
        return False


UNCHANGED: Final = _Unchanged.UNCHANGED
"""Stands in `new` for a long value (TOAST) that an update left as it was, which the server then does not send."""


class Acknowledging(Protocol):
    """Who is told that a change is done with."""

    def acknowledge(self, change: Change) -> None:
        """Note that everything up to this change is done with."""
        ...


class Transaction:
    """A committed transaction on its way through a stream.

    Attributes:
        lsn: Where its commit stands in the log.
        end: Where its commit ends in the log; 0 until all of it was read.
        xid: Its transaction id, the 32 bits that wrap around; with an outbox the 64 that do not.
        count: Its changes so far.
        acknowledged: The number of its last change that is done with.
    """

    __slots__ = ("_at", "_micros", "acknowledged", "count", "end", "lsn", "source", "xid")

    def __init__(self, source: Acknowledging | None, lsn: int, xid: int, micros: int) -> None:
        self.source = source
        self.lsn, self.xid = lsn, xid
        self.end = self.count = self.acknowledged = 0
        self._micros = micros
        self._at: datetime | None = None

    @property
    def at(self) -> datetime:
        """When it was committed, by the server's clock, in UTC."""
        if self._at is None:
            self._at = EPOCH + timedelta(microseconds=self._micros)
        return self._at

    @property
    def micros(self) -> int:
        """The same in microseconds since 1970."""
        return self._micros + _TO_UNIX

    @property
    def whole(self) -> bool:
        """Whether all of it was read and is done with."""
        return self.end > 0 and self.acknowledged >= self.count


class Change:
    """One row inserted, updated or deleted, or a table truncated.

    Attributes:
        kind: `"insert"`, `"update"`, `"delete"` or `"truncate"`.
        entity: The mapped class, of an inheritance hierarchy the row's own; or the Table that was asked for.
        key: The primary key, a tuple where it has several columns; None for a truncate.
        old: Values before it by attribute name, as far as the server tells them (see above); None for an insert.
        new: Values after it by attribute name; None for a delete. A long value that was not touched is `UNCHANGED`.
        table: The table, with its schema where the mapping names one.
    """

    __slots__ = ("_sequence", "_transaction", "entity", "key", "kind", "new", "old", "table")

    def __init__(
        self,
        kind: Kind,
        entity: Any,
        table: str,
        key: Any,
        old: dict[str, Any] | None,
        new: dict[str, Any] | None,
        transaction: Transaction,
        sequence: int,
    ) -> None:
        self.kind: Kind = kind
        self.entity = entity
        self.table = table
        self.key = key
        self.old = old
        self.new = new
        self._transaction = transaction
        self._sequence = sequence

    def __repr__(self) -> str:
        name = getattr(self.entity, "__name__", None) or self.table
        return f"<{self.kind} {name} {self.key!r} at {self.position}>"

    @property
    def position(self) -> Position:
        """Where it stands in its stream."""
        return Position(self._transaction.lsn, self._sequence)

    @property
    def committed_at(self) -> datetime:
        """When its transaction was committed, by the server's clock, in UTC."""
        return self._transaction.at

    @property
    def xid(self) -> int:
        """The id of its transaction; see `Transaction`."""
        return self._transaction.xid

    def ack(self) -> None:
        """Say that this change and all before it are done with: after a restart the stream goes on behind them.

        A transaction counts as done with its last change; half of one comes again, whole.

        Raises:
            UsageError: The stream is closed.
        """
        source = self._transaction.source
        if source is not None:
            source.acknowledge(self)

"""A table as sink, through BulkWriter: what is written and where the stream stands are one transaction, so exactly once.

Rows are upserted by the entity's primary key, or by `key`. Changes that come as they are keep a copy: inserts and updates
are upserted, deletes deleted, a truncate empties it. A window's `window_start` and `window_end` are left out where the entity
has no such attributes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from dal.errors import UsageError
from dal.streams.change import UNCHANGED, Change
from dal.streams.marks import Kept, make_table, read_mark, write_mark
from dal.streams.sinks.base import Setting
from dal.streams.window import WINDOW

if TYPE_CHECKING:
    from dal.bulk import BulkWriter

__all__ = ["TableSink"]


class TableSink:
    """Writes to the table of a BulkWriter, and keeps the position beside it.

    Args:
        writer: The writer; it has to be one of a Database, whose transactions it can open.
        key: The attributes that identify a row; the primary key by default.

    Raises:
        UsageError: The writer writes into a session of the caller's, or the entity has no key.
    """

    def __init__(self, writer: BulkWriter[Any], key: Sequence[Any] | None) -> None:
        if not writer.commits:
            raise UsageError(
                "a flow writes in transactions of its own, not in a caller's session",
                hint=f"BulkWriter(db, {writer.target.name})",
            )
        self._writer = writer
        self._names = frozenset(writer.target.columns)
        self._key = list(writer.target.key) if key is None else [writer.target.named(each, "key=") for each in key]
        if not self._key:
            raise UsageError(f"{writer.target.name} has no primary key to write by", hint=".to(writer, key=[...])")
        self._open: AbstractContextManager[Session] | None = None
        self._session: Session | None = None
        self._setting: Setting | None = None
        self._last: Kept | None = None

    def check(self, names: Collection[str], *, all_written: bool) -> None:
        """Compare what items will have with what the table has, before there are any.

        Args:
            names: The names of their values.
            all_written: Whether all of them are written, or those that the table has.

        Raises:
            UsageError: The table does not have one, or its key is not among them.
        """
        target = self._writer.target
        unknown = sorted({*names} - self._names - {*WINDOW}) if all_written else []
        if unknown:
            raise UsageError(
                f"{target.name} has no column for {', '.join(unknown)}, which every item of the flow has",
                hint=f".window() with names of its columns ({', '.join(target.columns)}), or .map() to a row of it",
            )
        self._check_key(names, "items will have no")

    def open(self, setting: Setting) -> None:
        """Make the table of positions where it is missing."""
        self._setting = setting
        with self._writer.transaction() as session:
            make_table(session.connection())

    def kept(self) -> Kept | None:
        """Return the position that the sink's database has."""
        assert self._setting is not None
        with self._writer.transaction() as session:
            self._last = read_mark(session.connection(), self._setting.stream, self._setting.origin)
        return self._last

    def write(self, items: Sequence[Any]) -> None:
        """Write items into the open transaction."""
        session = self._transaction()
        writer = self._writer.within(session)
        rows: dict[Any, Any] = {}
        for item in items:
            if isinstance(item, Change):
                rows = self._changed(writer, session, item, rows)
            else:
                row = self._row(item)
                rows[self._key_of(row)] = row
        self._flush(writer, rows)

    def commit(self) -> None:
        """Commit without a position; flows call `commit_at`."""
        self._end(None)

    def commit_at(self, kept: Kept) -> None:
        """Write the position and commit.

        Args:
            kept: Where the flow then stands.
        """
        assert self._setting is not None
        connection = self._transaction().connection()
        write_mark(connection, self._setting.stream, self._last, kept, self._setting.origin)
        self._end(None)
        self._last = kept

    def undo(self) -> None:
        """Roll back."""
        if self._open is not None:
            self._end(_Undo())

    def close(self) -> None:
        """Roll back what is not committed."""
        self.undo()

    def _transaction(self) -> Session:
        if self._session is None:
            self._open = self._writer.transaction()
            self._session = self._open.__enter__()
        return self._session

    def _end(self, error: BaseException | None) -> None:
        opened, self._open, self._session = self._open, None, None
        if opened is None:
            return
        with suppress(_Undo):
            opened.__exit__(None if error is None else type(error), error, None)

    def _changed(self, writer: BulkWriter[Any], session: Session, change: Change, rows: dict[Any, Any]) -> dict[Any, Any]:
        """Note what a change does to a row: the row, or None for its end."""
        if change.kind == "truncate":
            session.execute(delete(writer.entity))
            return {}
        if change.old is not None:
            gone = self._key_of(change.old)
            if change.new is None or self._key_of(change.new) != gone:
                rows.pop(gone, None)
                rows[gone] = None
        if change.new is not None:
            row = self._row({name: value for name, value in change.new.items() if value is not UNCHANGED})
            key = self._key_of(row)
            before = rows.pop(key, None)
            rows[key] = row if before is None else {**before, **row}
        return rows

    def _flush(self, writer: BulkWriter[Any], rows: dict[Any, Any]) -> None:
        gone = [key if len(self._key) > 1 else key[0] for key, row in rows.items() if row is None]
        kept = [row for row in rows.values() if row is not None]
        if gone:
            if self._key != list(writer.target.key):
                raise UsageError(
                    "rows are deleted by their primary key, and the flow writes by another",
                    hint="leave out key=, or filter deletes",
                )
            writer.delete(gone)
        if kept:
            writer.upsert(kept, key=self._key)

    def _row(self, item: Any) -> dict[str, Any]:
        row = dict(item) if isinstance(item, dict) else writer_row(item, self._names)
        for name in WINDOW:
            if name in row and name not in self._names:
                del row[name]
        return row

    def _key_of(self, row: dict[str, Any]) -> tuple[Any, ...]:
        try:
            return tuple([row[name] for name in self._key])
        except KeyError:
            self._check_key(row, "an item has no")
            raise

    def _check_key(self, names: Collection[str], said: str) -> None:
        missing = next((name for name in self._key if name not in names), None)
        if missing is not None:
            raise UsageError(
                f"{said} {missing!r}, which is part of the key of {self._writer.target.name}: {', '.join(sorted(names))}",
                hint=".window(..., by=...) with that name, or .map() to rename it, or .to(writer, key=[...])",
            )


class _Undo(Exception):
    """Leaves a transaction by its error path."""


def writer_row(item: Any, names: frozenset[str]) -> dict[str, Any]:
    """Read an object's fields.

    Args:
        item: A mapped object, a dataclass, a struct or a named tuple.
        names: The attributes that the table's entity has.
    """
    if hasattr(item, "_asdict"):
        found: dict[str, Any] = item._asdict()
        return found
    return {name: getattr(item, name) for name in names if hasattr(item, name)}

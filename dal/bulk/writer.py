"""BulkWriter: many rows at the speed of COPY, in the caller's transaction or in its own.

    BulkWriter(db, Flight).insert(rows)        # its own transaction, run again after a transient fault
    BulkWriter(session, Flight).insert(rows)   # inside the caller's, as a savepoint; the caller commits

Relationships and cascades are not looked at: a bulk write sees columns. For a handful of objects with their related ones,
`session.add()` is the right call; for single rows that come from many threads, BatchWriter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, Literal, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.orm import Session, scoped_session

from dal.bulk.arrow import is_arrow
from dal.bulk.call import Call, OnError, readable_again, run
from dal.bulk.catalog import TableFacts
from dal.bulk.delete import SCALARS, scalars_as_tuples
from dal.bulk.filing import dump, load
from dal.bulk.keyed import Keyed
from dal.bulk.result import BulkResult
from dal.bulk.scope import Scope, Transactions
from dal.bulk.sinks import Rejects
from dal.bulk.target import Attribute, target_of
from dal.errors import UsageError

__all__ = ["BulkWriter", "OnError"]

T = TypeVar("T")

Duplicates = Literal["error", "first", "last"]


class BulkWriter(Generic[T]):
    """Writes many rows of an entity.

    Args:
        place: A Database: each call is a transaction of its own. Or a Session or Connection: each call is a savepoint in the
            caller's transaction, after the session has flushed what waits in it.
        entity: A mapped class, or a Table.

    Raises:
        UsageError: One of them is something else.

    Example:
        >>> from dal import BulkWriter, Database
        >>> with Database(url) as db:
        ...     BulkWriter(db, User).insert([{"name": "ada"}, {"name": "bob"}]).inserted
        2
    """

    def __init__(self, place: Transactions | Session | scoped_session[Any] | Connection, entity: type[T] | Table) -> None:
        self.entity = entity
        self.target = target_of(entity)
        self._scope = Scope(place, self.target)
        self._known: dict[str, TableFacts] = {}

    @property
    def commits(self) -> bool:
        """Whether each call is a transaction of its own."""
        return self._scope.commits

    def transaction(self) -> AbstractContextManager[Session]:
        """Give a session of the writer's database in a transaction that commits at the end, for `within`.

        Raises:
            UsageError: The writer writes into a caller's transaction.
        """
        return self._scope.transaction()

    def within(self, session: Session) -> BulkWriter[T]:
        """Make the same writer for a caller's transaction.

        Args:
            session: The caller's session.
        """
        made = BulkWriter(session, self.entity)
        made._known = self._known
        return made

    def insert(
        self,
        rows: Iterable[Any],
        *,
        columns: Sequence[Attribute] | None = None,
        returning: Sequence[Attribute] | type[T] | None = None,
        on_error: OnError = "raise",
        rejects: Rejects | None = None,
        max_rejected: int | None = None,
        commit_every: int | None = None,
    ) -> BulkResult:
        """Insert rows.

        Args:
            rows: Dicts, tuples, dataclasses, msgspec or pydantic objects, ORM objects, or a generator of these.
            columns: What the places of a tuple mean.
            returning: Columns of the rows that shall come back in `result.rows`, or the entity for whole objects.
            on_error: "raise": the first bad row ends the call and nothing is written. "reject": all good rows are written.
            rejects: Where rejected rows go as well: a function, a file of JSON lines, a table or the class mapped to it.
            max_rejected: How many rows may be rejected before the call ends after all.
            commit_every: Rows in a transaction, where all of them need not be one; what was committed stays when a later one
                fails. Only with a Database.

        Returns:
            What was done.

        Raises:
            RowError: A row cannot be written; RowConflict where it breaks a constraint.
            UsageError: A row is of a kind or has a column that the entity does not know.
        """
        return self._run(
            Call(
                lambda route, chunks: route.insert(chunks),
                rows,
                columns,
                returning,
                on_error,
                rejects,
                max_rejected,
                commit_every,
                fresh=True,
            )
        )

    def upsert(
        self,
        rows: Iterable[Any],
        *,
        key: Sequence[Attribute],
        set_: Sequence[Attribute] | None = None,
        columns: Sequence[Attribute] | None = None,
        duplicates: Duplicates = "error",
        returning: Sequence[Attribute] | type[T] | None = None,
        on_error: OnError = "raise",
        rejects: Rejects | None = None,
        max_rejected: int | None = None,
        commit_every: int | None = None,
    ) -> BulkResult:
        """Insert rows, or write them over those that have the same key; a row that is as it should be is left alone.

        Args:
            rows: As for `insert`.
            key: The columns of a unique key.
            set_: The columns that are written over; by default all that a row carries.
            columns: What the places of a tuple mean.
            duplicates: What two rows with one key mean: "error", or which of them counts.
            returning: As for `insert`.
            on_error: As for `insert`.
            rejects: As for `insert`.
            max_rejected: As for `insert`.
            commit_every: As for `insert`.

        Returns:
            What was done: inserted, updated, unchanged.
        """
        keyed = self._keyed(key, set_, duplicates)
        return self._run(
            Call(
                lambda route, chunks: route.upsert(chunks, keyed),
                rows,
                columns,
                returning,
                on_error,
                rejects,
                max_rejected,
                commit_every,
            )
        )

    def update(
        self,
        rows: Iterable[Any],
        *,
        key: Sequence[Attribute] | None = None,
        set_: Sequence[Attribute] | None = None,
        columns: Sequence[Attribute] | None = None,
        duplicates: Duplicates = "error",
        returning: Sequence[Attribute] | type[T] | None = None,
        on_error: OnError = "raise",
        rejects: Rejects | None = None,
        max_rejected: int | None = None,
        commit_every: int | None = None,
    ) -> BulkResult:
        """Update rows by their key, each to values of its own; columns that a row does not carry stay as they are.

        Args:
            rows: As for `insert`.
            key: The columns that tell rows apart; the primary key by default.
            set_: The columns that are written; by default all that a row carries.
            columns: What the places of a tuple mean.
            duplicates: What two rows with one key mean: "error", or which of them counts.
            returning: As for `insert`.
            on_error: As for `insert`.
            rejects: As for `insert`.
            max_rejected: As for `insert`.
            commit_every: As for `insert`.

        Returns:
            What was done: updated, unchanged, and missing for rows whose key the table does not have.
        """
        keyed = self._keyed(self.target.key_of_all(self.target.key if key is None else key), set_, duplicates)
        return self._run(
            Call(
                lambda route, chunks: route.update(chunks, keyed),
                rows,
                columns,
                returning,
                on_error,
                rejects,
                max_rejected,
                commit_every,
            )
        )

    def delete(
        self,
        keys: Iterable[Any],
        *,
        key: Sequence[Attribute] | None = None,
        on_error: OnError = "raise",
        rejects: Rejects | None = None,
        max_rejected: int | None = None,
        commit_every: int | None = None,
    ) -> BulkResult:
        """Delete rows by their key.

        Args:
            keys: Values of the key; tuples where it has several columns; or dicts or objects that carry it.
            key: The columns that tell rows apart; the primary key by default.
            on_error: As for `insert`.
            rejects: As for `insert`.
            max_rejected: As for `insert`.
            commit_every: As for `insert`.

        Returns:
            What was done: deleted, and missing for keys that the table does not have.
        """
        names = self.target.key_of_all(self.target.key if key is None else key)
        return self._run(
            Call(
                lambda route, chunks: route.delete(chunks, names),
                _as_rows(keys),
                None if is_arrow(keys) else names,
                None,
                on_error,
                rejects,
                max_rejected,
                commit_every,
            )
        )

    load = load
    dump = dump

    def _run(self, call: Call) -> BulkResult:
        return run(call, self._scope, self.target, self._known)

    def _keyed(self, key: Any, written: Any, duplicates: str) -> Keyed:
        if duplicates not in ("error", "first", "last"):
            raise UsageError(f"duplicates={duplicates!r} is not known", hint='write "error", "first" or "last"')
        names = self.target.listed(key, "key")
        return Keyed(names, None if written is None else self.target.listed(written, "set_"), duplicates)


def _as_rows(keys: Iterable[Any]) -> Iterable[Any]:
    if is_arrow(keys):
        return keys
    rows = scalars_as_tuples(keys)
    if not readable_again(keys):
        return rows
    return list(zip(keys, strict=True)) if set(map(type, keys)) <= SCALARS else list(rows)

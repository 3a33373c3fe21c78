"""AsyncBulkWriter: the async door to BulkWriter."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import Select, Table
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session

from dal.asyncio._bridge import run_sync, wait
from dal.bulk.call import OnError
from dal.bulk.result import BulkResult
from dal.bulk.sinks import Rejects
from dal.bulk.target import Attribute
from dal.bulk.writer import BulkWriter, Duplicates
from dal.errors import UsageError

if TYPE_CHECKING:
    from dal.asyncio.database import AsyncDatabase
    from dal.bulk.files import Columns, CsvDialect, FileProgress, Format, Readable, Validate, Writable
    from dal.bulk.files.options import OnPart

__all__ = ["AsyncBulkWriter"]

T = TypeVar("T")

Rows = Iterable[Any] | AsyncIterable[Any]


class AsyncBulkWriter(Generic[T]):
    """Writes many rows of an entity; see `BulkWriter`. Rows may come from an async generator as well.

    Args:
        place: An AsyncDatabase, AsyncSession or AsyncConnection.
        entity: A mapped class, or a Table.
    """

    def __init__(
        self, place: AsyncDatabase | AsyncSession | async_scoped_session[Any] | AsyncConnection, entity: type[T] | Table
    ) -> None:
        self._writer: BulkWriter[T] = BulkWriter(_sync(place), entity)

    @property
    def sync_writer(self) -> BulkWriter[T]:
        """The writer behind it, for code that runs on SQLAlchemy's bridge."""
        return self._writer

    async def insert(
        self,
        rows: Rows,
        *,
        columns: Sequence[Attribute] | None = None,
        returning: Sequence[Attribute] | type[T] | None = None,
        on_error: OnError = "raise",
        rejects: Rejects | None = None,
        max_rejected: int | None = None,
        commit_every: int | None = None,
    ) -> BulkResult:
        """Insert rows; see `BulkWriter.insert`."""
        return await run_sync(
            self._writer.insert,
            _iterable(rows),
            columns=columns,
            returning=returning,
            on_error=on_error,
            rejects=rejects,
            max_rejected=max_rejected,
            commit_every=commit_every,
        )

    async def upsert(
        self,
        rows: Rows,
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
        """Insert rows, or write them over those that have the same key; see `BulkWriter.upsert`."""
        return await run_sync(
            self._writer.upsert,
            _iterable(rows),
            key=key,
            set_=set_,
            columns=columns,
            duplicates=duplicates,
            returning=returning,
            on_error=on_error,
            rejects=rejects,
            max_rejected=max_rejected,
            commit_every=commit_every,
        )

    async def update(
        self,
        rows: Rows,
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
        """Update rows by their key; see `BulkWriter.update`."""
        return await run_sync(
            self._writer.update,
            _iterable(rows),
            key=key,
            set_=set_,
            columns=columns,
            duplicates=duplicates,
            returning=returning,
            on_error=on_error,
            rejects=rejects,
            max_rejected=max_rejected,
            commit_every=commit_every,
        )

    async def delete(
        self,
        keys: Rows,
        *,
        key: Sequence[Attribute] | None = None,
        on_error: OnError = "raise",
        rejects: Rejects | None = None,
        max_rejected: int | None = None,
        commit_every: int | None = None,
    ) -> BulkResult:
        """Delete rows by their key; see `BulkWriter.delete`."""
        return await run_sync(
            self._writer.delete,
            _iterable(keys),
            key=key,
            on_error=on_error,
            rejects=rejects,
            max_rejected=max_rejected,
            commit_every=commit_every,
        )

    async def load(
        self,
        file: Readable,
        *,
        format: Format | None = None,  # noqa: A002
        columns: Columns | None = None,
        header: bool | None = None,
        dialect: CsvDialect | None = None,
        key: Sequence[Attribute] | None = None,
        validate: Validate | None = None,
        on_error: OnError = "raise",
        rejects: Rejects | None = None,
        max_rejected: int | None = None,
        progress: bool | Callable[[FileProgress], object] | None = None,
        resume: str | None = None,
        on_part: OnPart | None = None,
    ) -> BulkResult:
        """Load a file; see `BulkWriter.load`. Reading it blocks the event loop for as long as a block takes."""
        return await run_sync(
            self._writer.load,
            file,
            format=format,
            columns=columns,
            header=header,
            dialect=dialect,
            key=key,
            validate=validate,
            on_error=on_error,
            rejects=rejects,
            max_rejected=max_rejected,
            progress=progress,
            resume=resume,
            on_part=on_part,
        )

    async def dump(
        self,
        statement: Select[*tuple[Any, ...]],
        file: Writable,
        *,
        format: Format | None = None,  # noqa: A002
        progress: bool | Callable[[FileProgress], object] | None = None,
    ) -> int:
        """Write the rows that a statement selects to a file; see `BulkWriter.dump`."""
        return await run_sync(self._writer.dump, statement, file, format=format, progress=progress)


class _SyncTransactions:
    """An AsyncDatabase as the sync code sees it, on the bridge."""

    def __init__(self, db: AsyncDatabase) -> None:
        self._db = db

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        session = self._db.session()
        with session.sync_session as sync, sync.begin():
            yield sync

    def run(self, work: Callable[[Session], Any], /) -> Any:
        return self._db.unit().unit.run(work)


def _sync(place: Any) -> Any:
    if isinstance(place, async_scoped_session):
        place = place()
    if isinstance(place, AsyncSession):
        return place.sync_session
    if isinstance(place, AsyncConnection):
        return place.sync_connection
    if iscoroutinefunction(getattr(place, "run", None)):
        return _SyncTransactions(place)
    raise UsageError(
        f"AsyncBulkWriter got {type(place).__name__}, which is no AsyncDatabase, AsyncSession or AsyncConnection",
        hint="write AsyncBulkWriter(db, Flight), or BulkWriter in code that awaits nothing",
    )


def _iterable(rows: Rows) -> Iterable[Any]:
    return _awaited(rows) if isinstance(rows, AsyncIterable) else rows


def _awaited(rows: AsyncIterable[Any]) -> Iterator[Any]:
    source = aiter(rows)
    while True:
        try:
            row = wait(anext(source))
        except StopAsyncIteration:
            return
        yield row

"""AsyncBatchWriter: single rows from many tasks, written many at a time; the async door to `BatchWriter`.

`submit` returns at once. When every task that has submitted something waits for a result, nobody can fill the batch, so it is
written at once. Awaiting a future counts as waiting, and so does asking to be called when it is done, as `asyncio.gather`
does, until the task submits again.

There is no waiting in `submit`, so with `full="block"` a task that awaits its results is held back by that, and one that does
not awaits `room()` before it submits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextvars import Context
from inspect import iscoroutinefunction
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from dal.asyncio._bridge import run_sync
from dal.bulk.buffer import Entry, Reason
from dal.bulk.operations import Operation, Operations
from dal.bulk.outcomes import Outcome, outcomes
from dal.bulk.settings import Batch, BatchSettings, BatchStats, Counts, Full, report
from dal.durations import Duration
from dal.errors import UsageError

if TYPE_CHECKING:
    from dal.asyncio.database import AsyncDatabase

__all__ = ["AsyncBatchWriter", "AsyncSubmitted"]

T = TypeVar("T")


class AsyncSubmitted(asyncio.Future[T]):
    """The future of one item; waiting for it is seen by its writer. Cancelled before it is written, the item is not written."""

    _entry: Entry | None = None
    _writer: AsyncBatchWriter[Any] | None = None

    def __await__(self) -> Generator[Any, None, T]:
        self._awaited()
        return super().__await__()

    __iter__ = __await__

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        """Have a function called when the item is settled; see `asyncio.Future.add_done_callback`."""
        self._awaited()
        super().add_done_callback(fn, context=context)

    def _awaited(self) -> None:
        if self._writer is not None and self._entry is not None:
            self._writer._waits(self._entry)

    def _tell(self, outcome: Outcome) -> None:
        # The entry holds the future: without this every item would be left to the garbage collector.
        self._entry = self._writer = None
        if self.done():
            return
        if outcome.error is not None:
            self.set_exception(outcome.error)
        else:
            self.set_result(outcome.row)


class AsyncBatchWriter(Generic[T]):
    """Write single rows in batches, from any number of tasks of one event loop; the arguments are those of `BatchWriter`.

    Args:
        db: The database.
        entity: The mapped class of the items.
        size: Items of a full batch.
        interval: How long an item waits at most for its batch to fill.
        capacity: Items that may be on their way at once; with `full="block"` what `room()` waits for.
        full: What `submit` does when they are: "raise" `QueueFull`, "drop" the item, whose future gets `QueueFull`, or "block",
            which leaves it to the tasks to await their results or `room()`.
        flush_when_waiting: Write at once when every submitter waits for a result.
        on_batch: Called with a `Batch` after each one.

    Example:
        `async with AsyncBatchWriter(db, Event) as writer: event = await writer.submit(Event(name="login"))`
    """

    def __init__(
        self,
        db: AsyncDatabase,
        entity: type[T],
        *,
        size: int = 100,
        interval: Duration = 5.0,
        capacity: int = 10_000,
        full: Full = "block",
        flush_when_waiting: bool = True,
        on_batch: Callable[[Batch], object] | None = None,
    ) -> None:
        self._settings = BatchSettings(size=size, interval=interval, capacity=capacity, full=full)
        self._operations = Operations(entity)
        if not iscoroutinefunction(getattr(db, "run", None)):
            raise UsageError(
                f"AsyncBatchWriter got {type(db).__name__}, which is no AsyncDatabase",
                hint=f"write AsyncBatchWriter(db, {self._operations.target.name}), or BatchWriter with a Database",
            )
        self._db, self._on_batch = _Units(db), on_batch
        self._buffer = self._settings.buffer(when_waiting=flush_when_waiting, regather=0.0, gone=_is_over)
        self._task: asyncio.Task[None] | None = None
        self._work, self._moved = asyncio.Event(), asyncio.Event()
        self._closed = False
        self._counts = Counts()
        self._writing: list[Entry] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def submit(self, item: T) -> AsyncSubmitted[T]:
        """Insert a row; see `BatchWriter.submit`."""
        return self._submit(self._operations.insert(item))

    def upsert(self, item: T, *, key: Sequence[Any]) -> AsyncSubmitted[T]:
        """Insert a row, or write it over the one that has its key; see `BatchWriter.upsert`."""
        return self._submit(self._operations.upsert(item, key))

    def update(self, item: T, *, key: Sequence[Any] | None = None) -> AsyncSubmitted[T]:
        """Write what is set on an item to the row that has its key; see `BatchWriter.update`."""
        return self._submit(self._operations.update(item, key))

    def delete(self, item: T, *, key: Sequence[Any] | None = None) -> AsyncSubmitted[T]:
        """Delete the row that has an item's key; see `BatchWriter.delete`."""
        return self._submit(self._operations.delete(item, key))

    async def room(self) -> None:
        """Wait until there is room for another item.

        Raises:
            UsageError: The writer is closed.
        """
        while not self._closed and not self._buffer.has_room:
            self._buffer.flush()
            self._work.set()
            await self._next_move()
        self._open()

    async def flush(self) -> None:
        """Write everything submitted so far, and wait for it."""
        mark = self._counts.submitted
        self._buffer.flush()
        self._work.set()
        while self._counts.settled < mark:
            await self._next_move()

    async def close(self) -> None:
        """Write everything submitted so far, and take nothing more; again is nothing."""
        self._closed = True
        self._buffer.close()
        self._work.set()
        if self._task is not None and self._task is not asyncio.current_task():
            await asyncio.shield(self._task)

    def stats(self) -> BatchStats:
        """Return what was done so far."""
        return self._counts.stats(waiting=len(self._buffer))

    def _submit(self, operation: Operation) -> AsyncSubmitted[T]:
        self._open()
        future: AsyncSubmitted[T] = AsyncSubmitted()
        entry = Entry(operation, future, asyncio.current_task(), monotonic())
        if not self._buffer.has_room and self._settings.full != "block":
            if self._settings.full == "raise":
                raise self._settings.full_error()
            self._counts.dropped += 1
            future.set_exception(self._settings.full_error())
            return future
        future._writer, future._entry = self, entry
        self._counts.submitted += 1
        self._buffer.put(entry)
        if self._buffer.pending == 1 or self._buffer.pending >= self._buffer.size:
            self._work.set()
        if self._task is None:
            # Its own context: a unit of work or a deadline around the first submit is none of its business.
            self._task = asyncio.get_running_loop().create_task(self._run(), name="dal-batch-writer", context=Context())
        return future

    def _open(self) -> None:
        if self._closed:
            raise UsageError("the AsyncBatchWriter is closed", hint="submit inside its async with block, or close it later")

    def _waits(self, entry: Entry) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._buffer.waits(task, entry)
            if self._buffer.all_wait:
                self._work.set()

    async def _next_move(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    async def _run(self) -> None:
        try:
            while (taken := await self._next()) is not None:
                await self._write(*taken)
        except asyncio.CancelledError:
            self._abandon()
            raise

    async def _write(self, entries: list[Entry], reason: Reason) -> None:
        began = monotonic()
        asked = [entry for entry in entries if not entry.future.cancelled()]
        found: list[Outcome] = []
        if asked:
            self._writing = asked
            found = await run_sync(outcomes, self._db, self._operations, [entry.operation for entry in asked])
        for entry, outcome in zip(asked, found, strict=True):
            entry.future._tell(outcome)
        batch = Batch.of(found, reason=reason, cancelled=len(entries) - len(asked), seconds=monotonic() - began)
        self._buffer.settled(entries, monotonic())
        self._counts.note(batch)
        self._moved.set()
        report(self._on_batch, batch)

    async def _next(self) -> tuple[list[Entry], Reason] | None:
        while (left := self._buffer.due(monotonic())) != 0.0:
            if left is None and self._closed:
                return None
            self._work.clear()
            try:
                async with asyncio.timeout(left):
                    await self._work.wait()
            except TimeoutError:
                continue
            # Those who were woken with the last batch come back in this turn of the loop.
            await asyncio.sleep(0)
        return self._buffer.take(monotonic())

    def _abandon(self) -> None:
        """End what waits when the event loop ends before the writer was closed."""
        self._closed = True
        for entry in (*self._writing, *self._buffer.take_all()):
            entry.future.cancel()
        self._moved.set()


class _Units:
    """An AsyncDatabase as the sync code sees it, on the bridge."""

    def __init__(self, db: AsyncDatabase) -> None:
        self._db = db

    def unit(self) -> Any:
        return self._db.unit().unit


def _is_over(task: asyncio.Task[Any] | None) -> bool:
    return task is not None and task.done()

"""BatchWriter: single rows from many threads, written many at a time, and each one is told what became of it.

A batch is written when it has `size` items or its oldest is `interval` seconds old, whichever comes first, in one transaction.
Each item has a future: its row, with ids and defaults, once that is committed; or its own error, while the others of its
batch are written. What is submitted is written in the order in which it was submitted.

When every thread that has submitted something waits for a result, nobody can fill the batch, so it is written at once.
`result()` and `exception()` of a future are seen as waiting; `concurrent.futures.wait()` is not: call `flush()` before it.

A lost connection is answered as for `db.run`: the batch is written again where that is safe, and never twice. Where the server
cannot say whether a COMMIT was applied, the items of that one batch get `CommitUnknown`.

Not for rows that are there already: `BulkWriter` writes them several times faster.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import Context
from inspect import iscoroutinefunction
from time import monotonic
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from dal.bulk.buffer import Entry
from dal.bulk.operations import Operation, Operations
from dal.bulk.outcomes import Outcome, Units, outcomes
from dal.bulk.settings import Batch, BatchSettings, BatchStats, Counts, Full, report
from dal.durations import Duration
from dal.errors import UsageError

__all__ = ["BatchWriter", "Submitted"]

T = TypeVar("T")

# As long as threads that were just woken need to come back with their next item.
_REGATHER = 0.001


class Submitted(Future[T]):
    """The future of one item; waiting for it is seen by its writer."""

    _entry: Entry | None = None
    _writer: BatchWriter[Any] | None = None

    def result(self, timeout: float | None = None) -> T:
        """Wait for the item's row.

        Args:
            timeout: Seconds.

        Returns:
            The row, as an object of the entity that belongs to no session; of an item that was deleted, as it was.

        Raises:
            TimeoutError: It is not settled yet.
            CancelledError: It was cancelled before it was written.
            RowError: This item cannot be written; a RowConflict where it breaks a constraint.
            NotFound: There is no row to update or delete.
        """
        with _Waiting(self):
            return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the item, and return its error or None; see `result`."""
        with _Waiting(self):
            return super().exception(timeout)

    def _tell(self, outcome: Outcome) -> None:
        # The entry holds the future: without this every item would be left to the garbage collector.
        self._entry = self._writer = None
        if outcome.error is not None:
            self.set_exception(outcome.error)
        else:
            self.set_result(outcome.row)


class _Waiting:
    """Says of the current thread that it waits for an item."""

    __slots__ = ("_entry", "_future", "_writer")

    def __init__(self, future: Submitted[Any]) -> None:
        self._future, self._writer, self._entry = future, future._writer, future._entry

    def __enter__(self) -> None:
        if self._writer is not None and self._entry is not None:
            self._writer._waits(threading.current_thread(), self._entry)

    def __exit__(self, *_: object) -> None:
        if self._writer is not None and self._entry is not None and not self._future.done():
            self._writer._resumes(threading.current_thread(), self._entry)


class BatchWriter(Generic[T]):
    """Write single rows in batches, from any number of threads.

    Args:
        db: The database.
        entity: The mapped class of the items.
        size: Items of a full batch.
        interval: How long an item waits at most for its batch to fill.
        capacity: Items that may be on their way at once.
        full: What `submit` does when they are: "block" until there is room, "raise" `QueueFull`, or "drop" the item, whose
            future gets `QueueFull`.
        flush_when_waiting: Write at once when every submitter waits for a result.
        on_batch: Called with a `Batch` after each one, in the writer's thread.

    Raises:
        UsageError: The class is not mapped, or `db` is no Database.
        ConfigError: A setting is bad.

    Example:
        `with BatchWriter(db, Event, size=100, interval=5.0) as writer: event = writer.submit(Event(name="login")).result()`
    """

    def __init__(
        self,
        db: Units,
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
        if not callable(getattr(db, "unit", None)) or iscoroutinefunction(getattr(db, "run", None)):
            raise UsageError(
                f"BatchWriter got {type(db).__name__}, which is no Database",
                hint=f"write BatchWriter(db, {self._operations.target.name}), or AsyncBatchWriter with an AsyncDatabase",
            )
        self._db, self._on_batch = db, on_batch
        self._buffer = self._settings.buffer(
            when_waiting=flush_when_waiting, regather=_REGATHER, gone=lambda thread: not thread.is_alive()
        )
        self._lock = threading.Lock()
        self._work, self._room, self._settled = (threading.Condition(self._lock) for _ in range(3))
        self._thread: threading.Thread | None = None
        self._closed = False
        self._counts = Counts()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def submit(self, item: T) -> Submitted[T]:
        """Insert a row.

        Args:
            item: A new object of the entity, or a dict by attribute names. It belongs to the writer until its future is done.

        Returns:
            The future of its row: of an object, that object, with what the database gave it.

        Raises:
            UsageError: The writer is closed, or the item is something else.
            QueueFull: There is no room, and the writer is to raise.
        """
        return self._submit(self._operations.insert(item))

    def upsert(self, item: T, *, key: Sequence[Any]) -> Submitted[T]:
        """Insert a row, or write it over the one that has its key; see `submit`.

        Args:
            item: As for `submit`.
            key: Attributes of a unique key.
        """
        return self._submit(self._operations.upsert(item, key))

    def update(self, item: T, *, key: Sequence[Any] | None = None) -> Submitted[T]:
        """Write what is set on an item to the row that has its key; a row that is not there is a `NotFound`; see `submit`.

        Args:
            item: As for `submit`.
            key: Attributes that identify the row; the primary key by default.
        """
        return self._submit(self._operations.update(item, key))

    def delete(self, item: T, *, key: Sequence[Any] | None = None) -> Submitted[T]:
        """Delete the row that has an item's key; a row that is not there is a `NotFound`; see `submit`.

        Args:
            item: As for `submit`; what is not of the key does not matter.
            key: Attributes that identify the row; the primary key by default.
        """
        return self._submit(self._operations.delete(item, key))

    def flush(self, timeout: float | None = None) -> None:
        """Write everything submitted so far, and wait for it.

        Args:
            timeout: Seconds.

        Raises:
            TimeoutError: It is not settled yet.
        """
        with self._lock:
            mark = self._counts.submitted
            self._buffer.flush()
            self._work.notify()
            if not self._settled.wait_for(lambda: self._counts.settled >= mark, timeout):
                raise TimeoutError(f"{mark - self._counts.settled} items are not written yet")

    def close(self, timeout: float | None = None) -> None:
        """Write everything submitted so far, and take nothing more; again is nothing.

        Args:
            timeout: Seconds to wait for it.

        Raises:
            TimeoutError: It is not all settled yet; the writer goes on with it.
        """
        with self._lock:
            self._closed = True
            self._buffer.close()
            self._work.notify()
            self._room.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
            if thread.is_alive():
                raise TimeoutError(f"{len(self._buffer)} items are not written yet")
        atexit.unregister(self.close)

    def stats(self) -> BatchStats:
        """Return what was done so far."""
        with self._lock:
            return self._counts.stats(waiting=len(self._buffer))

    def _submit(self, operation: Operation) -> Submitted[T]:
        future: Submitted[T] = Submitted()
        entry = Entry(operation, future, threading.current_thread(), monotonic())
        with self._lock:
            if not self._admitted():
                future.set_exception(self._settings.full_error())
                return future
            future._writer, future._entry = self, entry
            self._counts.submitted += 1
            self._buffer.put(entry)
            if self._buffer.pending == 1 or self._buffer.pending >= self._buffer.size:
                self._work.notify()
            if self._thread is None:
                self._start()
        return future

    def _admitted(self) -> bool:
        """Wait for room, or refuse. The lock is held."""
        self._open()
        if self._buffer.has_room:
            return True
        if self._settings.full == "raise":
            raise self._settings.full_error()
        if self._settings.full == "drop":
            self._counts.dropped += 1
            return False
        self._buffer.flush()
        self._work.notify()
        self._room.wait_for(lambda: self._closed or self._buffer.has_room)
        self._open()
        return True

    def _open(self) -> None:
        if self._closed:
            raise UsageError("the BatchWriter is closed", hint="submit inside its with block, or close it later")

    def _start(self) -> None:
        self._thread = threading.Thread(target=Context().run, args=(self._run,), name="dal-batch-writer", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def _waits(self, thread: threading.Thread, entry: Entry) -> None:
        with self._lock:
            self._buffer.waits(thread, entry)
            if self._buffer.all_wait:
                self._work.notify()

    def _resumes(self, thread: threading.Thread, entry: Entry) -> None:
        with self._lock:
            self._buffer.resumes(thread, entry)

    def _run(self) -> None:
        while (taken := self._next()) is not None:
            entries, reason = taken
            began = monotonic()
            asked = [entry for entry in entries if entry.future.set_running_or_notify_cancel()]
            found = outcomes(self._db, self._operations, [entry.operation for entry in asked]) if asked else []
            # The last first: who waits for the first of several is woken when the others are told too, and once.
            for entry, outcome in zip(reversed(asked), reversed(found), strict=True):
                entry.future._tell(outcome)
            batch = Batch.of(found, reason=reason, cancelled=len(entries) - len(asked), seconds=monotonic() - began)
            with self._lock:
                self._buffer.settled(entries, monotonic())
                self._counts.note(batch)
                self._room.notify_all()
                self._settled.notify_all()
            report(self._on_batch, batch)

    def _next(self) -> tuple[list[Entry], Any] | None:
        with self._lock:
            while (left := self._buffer.due(monotonic())) != 0.0:
                if left is None and self._closed:
                    return None
                self._work.wait(left)
            return self._buffer.take(monotonic())

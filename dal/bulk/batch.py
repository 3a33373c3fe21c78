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
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from inspect import iscoroutinefunction
from time import monotonic
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from dal.bulk.buffer import Entry, Reason
from dal.bulk.operations import Operation, Operations
from dal.bulk.outcomes import Units, outcomes
from dal.bulk.settings import Batch, BatchSettings, BatchStats, Counts, Full, report
from dal.bulk.submitted import Submitted, begin, settled, tell
from dal.durations import Duration
from dal.errors import UsageError

__all__ = ["BatchWriter", "Submitted"]

T = TypeVar("T")

# As long as threads that were just woken need to come back with their next item.
_REGATHER = 0.001
_NEVER = sys.maxsize


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
        # Threads that submit do not meet at the lock: they would be handed it in turns, each time with the interpreter's.
        # An append is atomic, and whoever holds the lock takes what has come in.
        self._inbox: deque[Entry] = deque()
        self._wake_at = _NEVER
        self._lock = threading.Lock()
        self._work, self._room, self._settled = (threading.Condition(self._lock) for _ in range(3))
        self._thread: threading.Thread | None = None
        self._closed, self._taking = False, True
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
            self._take_in()
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
            # What comes in after this sees that it is closed, and is taken back.
            self._closed = True
            self._take_in()
            self._taking = False
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
            self._take_in()
            return self._counts.stats(waiting=len(self._buffer))

    def waits(self, who: threading.Thread, entry: Entry) -> None:
        """Note that a thread waits for an item. The lock is held."""
        self._take_in()
        self._buffer.waits(who, entry)
        if self._buffer.all_wait:
            self._work.notify()

    def resumes(self, who: threading.Thread, entry: Entry) -> None:
        """Note that it does no longer, though the item is not settled. The lock is held."""
        self._buffer.resumes(who, entry)

    def _submit(self, operation: Operation) -> Submitted[T]:
        if self._closed:
            raise self._closed_error()
        future: Submitted[T] = Submitted(self._lock)
        entry = Entry(operation, future, threading.current_thread(), monotonic())
        future._writer, future._entry = self, entry
        self._inbox.append(entry)
        # The inbox is counted first: what is taken in meanwhile is counted twice, not missed.
        come = len(self._inbox)
        if self._closed or self._thread is None or come + len(self._buffer) > self._buffer.capacity:
            self._admit(entry)
        elif come >= self._wake_at:
            with self._lock:
                self._wake()
        return future

    def _take_in(self) -> None:
        """Take what has come in, as far as there is room. The lock is held."""
        inbox, buffer = self._inbox, self._buffer
        while inbox and self._taking and buffer.has_room:
            # Put before it is taken out: a thread that counts meanwhile must not miss it.
            buffer.put(inbox[0])
            inbox.popleft()
            self._counts.submitted += 1

    def _wake(self) -> None:
        if len(self._inbox) >= self._wake_at:
            self._wake_at = _NEVER
            self._work.notify()

    def _admit(self, entry: Entry) -> None:
        """Take an item in, wait until there is room for it, or refuse it."""
        with self._lock:
            self._take_in()
            if entry in self._inbox:
                self._crowded(entry)
            if self._thread is None:
                self._start()
            self._work.notify()

    def _crowded(self, entry: Entry) -> None:
        full = self._settings.full
        if not self._closed and full == "block":
            self._buffer.flush()
            self._work.notify()
            self._room.wait_for(lambda: self._closed or entry not in self._inbox)
            if entry not in self._inbox:
                return
        self._inbox.remove(entry)
        if self._closed:
            raise self._closed_error()
        if full == "raise":
            raise self._settings.full_error()
        self._counts.dropped += 1
        settled(entry.future, None, self._settings.full_error())

    def _closed_error(self) -> UsageError:
        return UsageError("the BatchWriter is closed", hint="submit inside its with block, or close it later")

    def _start(self) -> None:
        self._thread = threading.Thread(target=Context().run, args=(self._run,), name="dal-batch-writer", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def _run(self) -> None:
        while (taken := self._next()) is not None:
            entries, reason = taken
            began = monotonic()
            asked = begin(entries, self._lock)
            found = outcomes(self._db, self._operations, [entry.operation for entry in asked]) if asked else []
            tell(asked, found, self._lock)
            batch = Batch.of(found, reason=reason, cancelled=len(entries) - len(asked), seconds=monotonic() - began)
            with self._lock:
                self._buffer.settled(entries, monotonic())
                self._counts.note(batch)
                self._take_in()
                self._room.notify_all()
                self._settled.notify_all()
            report(self._on_batch, batch)

    def _next(self) -> tuple[list[Entry], Reason] | None:
        with self._lock:
            while True:
                self._take_in()
                left = self._buffer.due(monotonic())
                if left == 0.0:
                    self._wake_at = _NEVER
                    return self._buffer.take(monotonic())
                if left is None and self._closed:
                    return None
                self._wake_at = 1 if left is None else self._buffer.size - self._buffer.pending
                if len(self._inbox) < self._wake_at:
                    self._work.wait(left)

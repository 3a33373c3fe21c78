"""Submitted: the future of one item of a BatchWriter; waiting for it is seen by its writer.

It is a `concurrent.futures.Future` in all that can be asked of it. What `Future` makes for each item at once (a condition with
its lock, two lists) is made here for those items only that somebody asks more of than a result that is there: with thousands
of items on their way, that is most of what the garbage collector would have to look at.

Until then an item changes under its writer's lock, afterwards under its own condition, as any Future does; it is handed over
under the writer's lock. Whoever holds that must not want a condition: `wait()` holds many conditions and makes more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures._base import FINISHED, PENDING, RUNNING
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from dal.bulk.buffer import Entry
from dal.bulk.outcomes import Outcome

__all__ = ["Submitted", "begin", "settled", "tell"]

T = TypeVar("T")
R = TypeVar("R")

_WHEN_ASKED = frozenset({"_condition", "_waiters", "_done_callbacks"})


class Watching(Protocol):
    """What wants to know which threads wait: the writer. Its lock is held."""

    def waits(self, who: threading.Thread, entry: Entry) -> None:
        """Note that a thread waits for an item."""
        ...

    def resumes(self, who: threading.Thread, entry: Entry) -> None:
        """Note that it does no longer, though the item is not settled."""
        ...


class Submitted(Future[T]):
    """The future of one item; waiting for it is seen by its writer."""

    _state = PENDING
    _result: Any = None
    _exception: BaseException | None = None
    _asked = False
    _entry: Entry | None = None
    _writer: Watching | None = None

    def __init__(self, lock: Any) -> None:
        # Future.__init__ would make what __getattr__ makes when it is asked for.
        self._lock = lock

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name not in _WHEN_ASKED:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            with self._lock:
                if not self._asked:
                    self._condition, self._waiters, self._done_callbacks = threading.Condition(), [], []
                    self._asked = True
            return self.__dict__[name]

    def done(self) -> bool:
        """Tell whether it is settled or cancelled."""
        return self._state not in (PENDING, RUNNING)

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
        if self._state == FINISHED and self._exception is None:
            row: T = self._result
            return row
        return self._waited(super().result, timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the item, and return its error or None; see `result`."""
        return self._waited(super().exception, timeout)

    def _waited(self, ask: Callable[[float | None], R], timeout: float | None) -> R:
        writer, entry = self._writer, self._entry
        if writer is None or entry is None or self.done():
            return ask(timeout)
        thread = threading.current_thread()
        with self._lock:
            writer.waits(thread, entry)
        try:
            return ask(timeout)
        finally:
            if not self.done():
                with self._lock:
                    writer.resumes(thread, entry)


def begin(entries: Sequence[Entry], lock: Any) -> list[Entry]:
    """Note that items are being written, and return those that were not cancelled before."""
    with lock:
        asked = [entry for entry in entries if not _begun(entry.future)]
    cancelled = {entry for entry in asked if not entry.future.set_running_or_notify_cancel()}
    return [entry for entry in entries if entry not in cancelled] if cancelled else list(entries)


def tell(entries: Sequence[Entry], found: Sequence[Outcome], lock: Any) -> None:
    """Settle items that have begun."""
    with lock:
        asked = [
            (entry.future, outcome)
            for entry, outcome in zip(entries, found, strict=True)
            if not settled(entry.future, outcome.row, outcome.error)
        ]
    # The last first: who waits for the first of several is woken when the others are told too, and once.
    for future, outcome in reversed(asked):
        if outcome.error is not None:
            future.set_exception(outcome.error)
        else:
            future.set_result(outcome.row)


def settled(future: Submitted[Any], row: Any, error: BaseException | None) -> bool:
    """Settle an item that nobody asked anything of yet, or return False. The writer's lock is held."""
    # The entry holds the future: without this every item would be left to the garbage collector.
    future._entry = future._writer = None
    if future._asked:
        return False
    future._result, future._exception, future._state = row, error, FINISHED
    return True


def _begun(future: Submitted[Any]) -> bool:
    if future._asked:
        return False
    future._state = RUNNING
    return True

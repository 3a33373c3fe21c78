"""The bounded queue between two stages: items, so that each stage takes as many at a time as it likes.

A stage that puts more than there is room for waits: that is the back-pressure, and it reaches the source. A stage that takes
waits for a first item, and then for a full batch, but not longer than its patience: a batch is full where items come fast, and
an item is not held up where they come slowly. Written once; what it waits with is threads' or tasks'.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

__all__ = ["Aborted", "Channel", "Gate"]


class Aborted(BaseException):
    """The run is over; raised out of every wait. No error that a stage's function could catch."""


class Gate(Protocol):
    """What one waits at, as `threading.Condition` has it; both gates of a channel share one lock."""

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> object: ...

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> object:
        """Wait until something is so; the lock is free meanwhile."""
        ...

    def notify_all(self) -> None:
        """Let everybody who waits look again."""
        ...


class Channel:
    """A queue with an end.

    Args:
        gates: Where takers and givers wait.
        size: Items it has room for.
        batch: Items its takers take at most.
        patience: Seconds that a taker waits for a full batch once there is an item.
        producers: How many give; it ends when all of them have ended.
    """

    def __init__(self, gates: tuple[Gate, Gate], *, size: int, batch: int, patience: float, producers: int) -> None:
        self._more, self._room = gates
        self._size, self._batch, self._patience = size, batch, patience
        self._producers = producers
        # Whether each item has an origin; set before the first item comes.
        self.tracked = False
        self._items: deque[Any] = deque()
        self._origins: deque[Any] = deque()
        self._idle = self._collecting = 0
        self._aborted = False
        self._depths = self._takes = self.peak = 0

    def offer(self, item: Any, origin: Any = None) -> bool:
        """Add one item, whatever room there is; for a single giver that calls `wait_for_room` when told to.

        Returns:
            Whether the queue is full.
        """
        if self.tracked:
            self._origins.append(origin)
        self._items.append(item)
        waiting = len(self._items)
        if self._idle or (self._collecting and waiting >= self._batch):
            with self._more:
                self._more.notify_all()
        return waiting >= self._size

    def wait_for_room(self) -> None:
        """Wait until there is room.

        Raises:
            Aborted: The run is over.
        """
        with self._room:
            self._room.wait_for(self._has_room)
            self._check()

    def put(self, items: list[Any], origins: list[Any]) -> None:
        """Add items, in pieces where there is little room.

        Args:
            items: The items.
            origins: Their origins; empty where they have none.

        Raises:
            Aborted: The run is over.
        """
        begin = 0
        while begin < len(items):
            with self._room:
                self._room.wait_for(self._has_room)
                self._check()
                end = begin + self._size - len(self._items)
                self._items.extend(items[begin:end])
                self._origins.extend(origins[begin:end])
                begin = end
                self._more.notify_all()

    def take(self) -> tuple[list[Any], list[Any]]:
        """Take up to a batch, waiting for it.

        Returns:
            Items and their origins; no items when the queue has ended.

        Raises:
            Aborted: The run is over.
        """
        with self._more:
            self._idle += 1
            self._more.wait_for(self._has_items)
            self._idle -= 1
            if len(self._items) < self._batch and self._patience and self._producers:
                self._collecting += 1
                self._more.wait_for(self._has_batch, self._patience)
                self._collecting -= 1
            self._check()
            waiting = len(self._items)
            self._note(waiting)
            count = min(waiting, self._batch)
            items = [self._items.popleft() for _ in range(count)]
            origins = [self._origins.popleft() for _ in range(count)] if self.tracked else []
            self._room.notify_all()
            return items, origins

    def end(self) -> None:
        """Say that one of the givers gives no more."""
        with self._more:
            self._producers -= 1
            self._more.notify_all()

    def abort(self) -> None:
        """Raise `Aborted` out of every wait, now and later."""
        with self._more:
            self._aborted = True
            self._more.notify_all()
            self._room.notify_all()

    def waiting(self) -> int:
        """Return how many items wait in it."""
        return len(self._items)

    def mean_depth(self) -> float:
        """Return how many items waited on average when somebody took some."""
        return self._depths / self._takes if self._takes else 0.0

    # What is waited for; the lock is held.

    def _has_items(self) -> bool:
        return bool(self._items) or not self._producers or self._aborted

    def _has_batch(self) -> bool:
        return len(self._items) >= self._batch or not self._producers or self._aborted

    def _has_room(self) -> bool:
        return len(self._items) < self._size or self._aborted

    def _check(self) -> None:
        if self._aborted:
            raise Aborted

    def _note(self, waiting: int) -> None:
        self._depths += waiting
        self._takes += 1
        self.peak = max(self.peak, waiting)

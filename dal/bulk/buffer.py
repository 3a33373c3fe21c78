"""Buffer: what was submitted and is not yet settled, and when the next batch is due. A state machine: no lock, thread or clock.

A batch is due when `size` items are there, when the oldest has waited for `interval` seconds, when a flush was asked for, or
when every submitter that has something in here waits for it: nobody is left to fill the batch then. After a batch its
submitters get `regather` seconds to come back, so that threads that write one row after the other go on together.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Buffer", "Entry", "Reason"]

Reason = Literal["size", "interval", "waiting", "flush", "close"]

_FEW = 16


@dataclass(slots=True, eq=False)
class Entry:
    """One item on its way.

    Args:
        operation: What to write.
        future: Who is told.
        submitter: The thread or task it came from.
        at: When, in seconds of the caller's clock.
    """

    operation: Any
    future: Any
    submitter: Hashable
    at: float
    waiters: tuple[Hashable, ...] = ()
    settled: bool = False


class Buffer:
    """Items that wait to be written, in order. Its owner holds a lock around each call.

    Args:
        size: Items of a full batch.
        interval: Seconds an item waits at most.
        capacity: Items that may be in here at once, those being written among them.
        when_waiting: Whether a batch is due when all submitters wait.
        regather: Seconds the submitters of the last batch have to come back.
        gone: Tells of a submitter whether it has ended.

    Example:
        >>> buffer = Buffer(size=2, interval=5.0, capacity=10)
        >>> buffer.put(Entry("a", None, "one", at=0.0))
        >>> buffer.due(1.0)
        4.0
        >>> buffer.put(Entry("b", None, "one", at=1.0))
        >>> buffer.due(1.0)
        0.0
    """

    def __init__(
        self,
        *,
        size: int,
        interval: float,
        capacity: int,
        when_waiting: bool = True,
        regather: float = 0.0,
        gone: Callable[[Any], bool] = lambda submitter: False,
    ) -> None:
        self.size, self.interval, self.capacity = size, interval, capacity
        self._when_waiting, self._regather, self._gone = when_waiting, regather, gone
        self._pending: deque[Entry] = deque()
        self._writing = 0
        self._forced = 0
        self._closing = False
        self._unsettled: Counter[Hashable] = Counter()
        self._running: set[Hashable] = set()
        self._waiting: dict[Hashable, set[Entry]] = {}
        self._expected: set[Hashable] = set()
        self._back_by = 0.0

    def __len__(self) -> int:
        """Items in here, those being written among them."""
        return len(self._pending) + self._writing

    @property
    def has_room(self) -> bool:
        """Whether another item may be put."""
        return len(self) < self.capacity

    @property
    def pending(self) -> int:
        """Items of no batch yet."""
        return len(self._pending)

    def put(self, entry: Entry) -> None:
        """Add an item; its submitter is evidently not waiting."""
        who = entry.submitter
        self._pending.append(entry)
        self._unsettled[who] += 1
        self._running.add(who)
        self._waiting.pop(who, None)
        self._expected.discard(who)

    def waits(self, who: Hashable, entry: Entry) -> None:
        """Note that a thread or task waits for an item."""
        if entry.settled:
            return
        entry.waiters += (who,)
        self._waiting.setdefault(who, set()).add(entry)
        self._running.discard(who)

    def resumes(self, who: Hashable, entry: Entry) -> None:
        """Note that it does no longer, though the item is not settled."""
        awaited = self._waiting.get(who)
        if awaited is not None:
            awaited.discard(entry)
            self._wake(who, awaited)

    def flush(self) -> None:
        """Make everything that is in here due."""
        self._forced = len(self._pending)

    def close(self) -> None:
        """Make everything due, now and from now on."""
        self._closing = True

    @property
    def all_wait(self) -> bool:
        """Whether nobody who has an item in here can add another."""
        if 0 < len(self._running) <= _FEW:
            self._running -= {who for who in self._running if self._gone(who)}
        return not self._running

    def due(self, now: float) -> float | None:
        """Tell in how many seconds the next batch is due; None: nothing is pending."""
        if not self._pending:
            return None
        if self._closing or self._forced or len(self._pending) >= self.size:
            return 0.0
        left = max(0.0, self._pending[0].at + self.interval - now)
        if self._when_waiting and left and self.all_wait:
            left = min(left, max(0.0, self._back_by - now) if self._expected else 0.0)
        return left

    def take(self, now: float) -> tuple[list[Entry], Reason]:
        """Take the next batch, which is due."""
        reason = self._reason(now)
        count = min(self.size, len(self._pending))
        # Counted before they are taken out: `len()` may be asked without the lock, and must not miss them.
        self._writing += count
        batch = [self._pending.popleft() for _ in range(count)]
        self._forced = max(0, self._forced - count)
        return batch, reason

    def take_all(self) -> list[Entry]:
        """Take everything that is pending, never to be written."""
        rest = list(self._pending)
        self._pending.clear()
        return rest

    def settled(self, batch: list[Entry], now: float) -> None:
        """Note that a batch is written, or not, and that its submitters are told."""
        self._writing -= len(batch)
        self._expected = set()
        for entry in batch:
            self._settle(entry)
        self._back_by = now + self._regather

    def _settle(self, entry: Entry) -> None:
        who = entry.submitter
        entry.settled = True
        self._unsettled[who] -= 1
        if not self._unsettled[who]:
            del self._unsettled[who]
            self._running.discard(who)
            if who in entry.waiters:
                self._expected.add(who)
        for waiter in entry.waiters:
            self.resumes(waiter, entry)

    def _wake(self, who: Hashable, awaited: set[Entry]) -> None:
        if not awaited:
            del self._waiting[who]
            if who in self._unsettled:
                self._running.add(who)

    def _reason(self, now: float) -> Reason:
        if len(self._pending) >= self.size:
            return "size"
        if self._closing:
            return "close"
        if self._forced:
            return "flush"
        return "interval" if self._pending[0].at + self.interval <= now else "waiting"

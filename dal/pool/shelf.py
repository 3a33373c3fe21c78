"""Where a pool keeps its objects and its queue: it stores, others decide.

The idle objects are a stack (the hottest is borrowed first, the cold end can be closed), the waiting borrowers are a queue, and
an object that comes free goes straight to the first of the queue: a late comer cannot take it.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

from dal.pool.entry import Entry
from dal.pool.runtime import Waiter
from dal.pool.stats import Percentiles, PoolStats, Tally

__all__ = ["Shelf"]

T = TypeVar("T")


class Shelf(Generic[T]):
    """The state of a pool. Every method but `stats` and `spare` is called with `lock` held.

    Idle objects are taken and laid down without the lock, by the atomic operations of a deque. Who queues up looks at the stack
    after it can be seen in the queue, who lays down looks at the queue after that: one of the two sees the other. The lock is
    reentrant, and each step leaves a state that a return may find: the garbage collector may return a forgotten object in the
    middle of anything, on the very thread that holds the lock.
    """

    __slots__ = (
        "checking",
        "closed",
        "entries",
        "epoch",
        "idle",
        "lock",
        "max_size",
        "min_size",
        "opening",
        "running",
        "serving",
        "suspended",
        "tally",
        "waiters",
    )

    def __init__(self, min_size: int, max_size: int) -> None:
        self.min_size, self.max_size = min_size, max_size
        self.idle: deque[Entry[T]] = deque()
        self.waiters: deque[Waiter] = deque()
        self.tally = Tally()
        self.reset()

    def reset(self) -> None:
        """Begin anew, with another lock: in a forked child the old one may be held by a thread that is not there."""
        self.lock = threading.RLock()
        self.idle.clear()
        self.waiters.clear()
        self.tally.reset()
        self.entries: set[Entry[T]] = set()
        self.opening = self.checking = self.epoch = 0
        self.running = self.suspended = self.closed = self.serving = False

    @property
    def size(self) -> int:
        """Objects that exist or are being made."""
        return len(self.entries) + self.opening

    @property
    def spare(self) -> int:
        """Idle objects beside one for whoever comes next; 0 while anybody waits."""
        return max(0, len(self.idle) - 1) if self.serving and not self.waiters else 0

    def settle(self) -> None:
        """Work out whether idle objects may be handed out, after a change of state."""
        self.serving = self.running and not (self.suspended or self.closed)

    def put(self, entry: Entry[T]) -> None:
        """Hand a free object to the first in the queue, or lay it on the stack."""
        while self.waiters and self.serving:
            try:
                waiter = self.waiters.popleft()
            except IndexError:
                break
            if waiter.give(entry):
                return
        self.idle.append(entry)

    def put_back(self, entry: Entry[T]) -> None:
        """Return a checked object to the queue or to its old place in the stack, so that checking keeps nothing warm."""
        if self.serving and self.waiters:
            self.put(entry)
            return
        for place, other in enumerate(list(self.idle)):
            if other.returned > entry.returned:
                self.idle.insert(place, entry)
                return
        self.idle.append(entry)

    def serve(self) -> None:
        """Hand idle objects to the queue; for when it could not be done as they came."""
        while self.serving and self.waiters:
            try:
                entry = self.idle.pop()
            except IndexError:
                return
            self.put(entry)

    def clear(self) -> list[Entry[T]]:
        """Take all off the stack; one by one, since a borrower may take one at any moment."""
        taken = []
        try:
            while True:
                taken.append(self.idle.pop())
        except IndexError:
            return taken

    def pick(self, entry: Entry[T]) -> bool:
        """Take one certain object off the stack; False when it is not there any more."""
        try:
            self.idle.remove(entry)
        except ValueError:
            return False
        return True

    def forget(self, entry: Entry[T], now: float) -> bool:
        """Strike an object off; False when that was done before."""
        if entry not in self.entries:
            return False
        self.entries.remove(entry)
        self.tally.closed += 1
        self.tally.returned += entry.uses
        self.tally.in_use_seconds += entry.used
        self.tally.alive_seconds += now - entry.born
        return True

    def in_use(self) -> list[Entry[T]]:
        """List the borrowed objects, the longest first."""
        return sorted((entry for entry in list(self.entries) if entry.taken), key=lambda entry: entry.taken)

    def stats(self, now: float) -> PoolStats:
        """Take a snapshot."""
        with self.lock:
            tally = self.tally
            held = self.in_use()
            entries = list(self.entries)
            used = tally.in_use_seconds + sum(entry.used for entry in entries) + sum(now - entry.taken for entry in held)
            alive = tally.alive_seconds + sum(now - entry.born for entry in entries)
            return PoolStats(
                size=len(entries),
                idle=len(self.idle),
                in_use=len(held),
                opening=self.opening,
                waiting=len(self.waiters),
                min_size=self.min_size,
                max_size=self.max_size,
                acquired=tally.returned + sum(entry.uses for entry in entries) + len(held),
                timeouts=tally.timeouts,
                opened=tally.opened,
                failed_opens=tally.failed_opens,
                closed=tally.closed,
                failed_checks=tally.failed_checks,
                leaks=tally.leaks,
                wait=Percentiles.of(tally.waits),
                use=Percentiles.of(tally.uses),
                waited_seconds=tally.waited_seconds,
                connecting_seconds=tally.connecting_seconds,
                in_use_seconds=used,
                idle_seconds=max(0.0, alive - used),
            )

"""The heart of every pool of dal: borrow, give back, and what happens when an object turns out dead.

`ObjectPool` and `ConnectionPool` are faces of it. Decisions are made under the shelf's lock, everything slow is done outside it.
"""

from __future__ import annotations

import weakref
from time import monotonic
from typing import Generic, TypeVar

from dal.errors import PoolTimeout, UsageError
from dal.events import Closed, Observer, Returned, TimedOut, Waited, state
from dal.pool import exhaustion, forks, maintenance
from dal.pool.entry import Entry, Verdict
from dal.pool.hooks import Hooks, Lifetimes
from dal.pool.making import Maker
from dal.pool.runtime import Runtime, Waiter
from dal.pool.shelf import Shelf
from dal.pool.stats import PoolStats

__all__ = ["Core"]

T = TypeVar("T")

_ALIVE, _DEAD, _SILENT = Verdict.ALIVE, Verdict.DEAD, Verdict.SILENT
_LONG_USE = 0.5


class Core(Generic[T]):
    """A pool's working parts: the shelf, the maker and the hooks, on one runtime.

    Args:
        name: What messages, threads and facts call the pool.
        hooks: Makes, checks and destroys objects.
        lifetimes: How long they live.
        min_size: Objects kept ready.
        max_size: Objects at most.
        runtime: Threads or tasks.
    """

    def __init__(
        self, name: str, hooks: Hooks[T], lifetimes: Lifetimes, *, min_size: int, max_size: int, runtime: Runtime
    ) -> None:
        self.name, self.hooks, self.lifetimes, self.runtime = name, hooks, lifetimes, runtime
        self.observers: list[Observer] = []
        self.run = 0
        self.shelf: Shelf[T] = Shelf(min_size, max_size)
        self.maker = Maker(name, self.shelf, hooks, lifetimes, runtime=runtime, observers=self.observers)
        forks.watch(self)

    def take(self, timeout: float, depth: int = 1) -> Entry[T]:
        """Borrow an object; waiting, making and checking all fit in `timeout` seconds.

        Args:
            timeout: Seconds.
            depth: How many frames up the application begins at the earliest.

        Raises:
            PoolTimeout: None came free in time.
            UsageError: The pool is closed.
        """
        shelf = self.shelf
        began = now = monotonic()
        deadline = began + timeout
        while True:
            with shelf.lock:
                entry = shelf.idle.pop() if shelf.idle and shelf.serving else None
            if entry is None:
                entry = self._wait(began, deadline)
                now = monotonic()
            if now < entry.expires:
                verdict = self.hooks.check(entry, now, deadline)
                if verdict is _ALIVE:
                    break
                self.condemn(entry, verdict)
            else:
                self.discard(entry, "lifetime")
            now = monotonic()
            if now >= deadline:
                raise self._timed_out(now - began)
        entry.taken = now
        entry.holder = self.runtime.identity()
        entry.site = self.runtime.site(depth)
        shelf.tally.waits.append(now - began)
        return entry

    def give_back(self, entry: Entry[T]) -> None:
        """Return a borrowed object: to the first in the queue, or to the top of the stack."""
        shelf, now = self.shelf, monotonic()
        used = now - entry.taken
        with shelf.lock:
            self._end_use(entry, used)
            entry.returned = now
            if used < _LONG_USE:
                # What was out for long may have been silent for long: it proves itself again when borrowed.
                entry.proven = now
            fit = now < entry.retire_at
            if fit:
                shelf.put(entry)
        if self.observers:
            self.tell(Returned(self.name, used))
        if not fit:
            self.discard(entry, "lifetime" if entry.retire_at else "retired")

    def drop(self, entry: Entry[T], reason: str = "broken") -> None:
        """Return a borrowed object that is of no more use."""
        with self.shelf.lock:
            self._end_use(entry, monotonic() - entry.taken)
        self.discard(entry, reason)

    def discard(self, entry: Entry[T], reason: str) -> None:
        """Destroy an object that is neither idle nor in use, and make another one if one is wanted."""
        now = monotonic()
        with self.shelf.lock:
            known = self.shelf.forget(entry, now)
            if reason in {"dead", "silent"}:
                self.shelf.tally.failed_checks += known
            makers = self.maker.summon()
        self.maker.start(makers)
        self.hooks.destroy(entry.thing)
        if known and self.observers:
            self.tell(Closed(self.name, reason, now - entry.born))

    def sweep(self) -> None:
        """Look at every idle object after one died: the dead go, the others prove themselves before they are used."""
        with self.shelf.lock:
            dead = []
            for entry in list(self.shelf.idle):
                entry.proven = 0.0
                if not self.hooks.alive(entry) and self.shelf.pick(entry):
                    dead.append(entry)
        for entry in dead:
            self.discard(entry, "dead")

    def retire(self, reason: str = "retired") -> None:
        """Replace everything: idle objects now, the others when they come back."""
        with self.shelf.lock:
            self.shelf.epoch += 1
            for entry in list(self.shelf.entries):
                entry.retire_at = entry.expires = 0.0
            gone = list(self.shelf.idle)
            self.shelf.idle.clear()
        for entry in gone:
            self.discard(entry, reason)

    def start(self) -> None:
        """Begin to keep the minimum ready, in the background; done by the first borrow if not before."""
        with self.shelf.lock:
            if self.shelf.closed:
                raise UsageError(f"the pool {self.name!r} is closed", hint="open a new one")
            moved = self.runtime.moved()
            begin = moved or not self.shelf.running
            if begin:
                self.runtime.attach()
                self.run += 1
                self.shelf.running = True
                self.shelf.settle()
            if moved:
                self.shelf.opening = 0
                self.shelf.waiters.clear()
                self.maker.reset()
            makers = self.maker.summon()
        self.maker.start(makers)
        if begin:
            self.runtime.spawn(maintenance.keeper(weakref.ref(self), self.run), f"{self.name}-keeper")

    def warm_up(self, timeout: float) -> bool:
        """Start, and wait until the minimum exists, for `timeout` seconds at the most.

        Raises:
            Exception: What the maker failed with, if trying again is of no use.
        """
        self.start()
        deadline = monotonic() + timeout
        while len(self.shelf.entries) < self.shelf.min_size:
            error = self.maker.last_error
            if error is not None and not self.hooks.transient(error):
                raise self.hooks.failure(error)
            if monotonic() >= deadline:
                return False
            self.runtime.pause(0.005)
        return True

    def rest(self) -> None:
        """Close what is idle and, unless somebody waits, stop the background work until the next borrow."""
        with self.shelf.lock:
            self.shelf.running = bool(self.shelf.waiters)
            self.shelf.settle()
        self.retire("closed")
        if not self.shelf.running:
            self.runtime.stop()

    def ended(self, run: int) -> None:
        """Note that the background work of a run is over; the next borrow that waits begins another one."""
        with self.shelf.lock:
            if run == self.run:
                self.shelf.running = False
                self.shelf.settle()

    def suspend(self, suspended: bool) -> None:
        """Hold all borrowers back, or let them go on."""
        with self.shelf.lock:
            self.shelf.suspended = suspended
            self.shelf.settle()
            self.shelf.serve()
            makers = self.maker.summon()
        self.maker.start(makers)

    def resize(self, min_size: int, max_size: int) -> None:
        """Change the sizes; what is over the maximum goes at once if idle, else when it comes back."""
        with self.shelf.lock:
            self.shelf.min_size, self.shelf.max_size = min_size, max_size
            over = max(0, len(self.shelf.entries) - max_size)
            gone = [entry for entry in list(self.shelf.idle)[:over] if self.shelf.pick(entry)]
            for entry in self.shelf.in_use()[: over - len(gone)]:
                entry.retire_at = 0.0
            makers = self.maker.summon() if self.shelf.running else 0
        self.maker.start(makers)
        for entry in gone:
            self.discard(entry, "retired")

    def after_fork(self) -> None:
        """Forget the parent's objects, without a word to whatever is at their other end."""
        inherited = list(self.shelf.entries)
        self.shelf.reset()
        self.maker.reset()
        self.runtime.reset()
        for entry in inherited:
            entry.retire_at = 0.0
            self.hooks.orphan(entry.thing)

    def stats(self) -> PoolStats:
        """Take a snapshot of the numbers."""
        return self.shelf.stats(monotonic())

    def tell(self, fact: object) -> None:
        """State a fact to the observers."""
        for observer in list(self.observers):
            state(observer, fact)

    def _end_use(self, entry: Entry[T], used: float) -> None:
        """Count a borrow that has ended. The lock is held."""
        tally = self.shelf.tally
        tally.returned += 1
        tally.in_use_seconds += used
        tally.uses.append(used)
        entry.taken = 0.0
        entry.reported = False

    def _wait(self, began: float, deadline: float) -> Entry[T]:
        shelf = self.shelf
        if not shelf.running or shelf.closed or self.runtime.moved():
            self.start()
        waiter = self.runtime.waiter()
        with shelf.lock:
            shelf.waiters.append(waiter)
            shelf.serve()
            makers = self.maker.summon() if waiter.entry is None else 0
            hopeless = waiter.entry is None and exhaustion.waits_for_itself(self, waiter)
        self.maker.start(makers)
        if hopeless:
            self._abandon(waiter)
            raise exhaustion.self_wait(self)
        try:
            waiter.wait(deadline - monotonic())
        except BaseException:
            self._abandon(waiter)
            raise
        return self._served(waiter, began)

    def _served(self, waiter: Waiter, began: float) -> Entry[T]:
        with self.shelf.lock:
            if waiter.entry is None and waiter.error is None:
                self._leave(waiter)
            waited = monotonic() - began
            self.shelf.tally.waited_seconds += waited
        if waiter.error is not None:
            raise waiter.error
        if waiter.entry is None:
            raise self._timed_out(waited)
        if self.observers:
            self.tell(Waited(self.name, waited))
        entry: Entry[T] = waiter.entry
        return entry

    def _leave(self, waiter: Waiter) -> None:
        """Take a borrower out of the queue. The lock is held."""
        if waiter in self.shelf.waiters:
            self.shelf.waiters.remove(waiter)

    def _abandon(self, waiter: Waiter) -> None:
        """Let a borrower go that does not wait any more; an object it was just handed goes to the next one."""
        with self.shelf.lock:
            self._leave(waiter)
            if waiter.entry is not None:
                self.shelf.put(waiter.entry)

    def condemn(self, entry: Entry[T], verdict: Verdict) -> None:
        """Destroy what a check found useless, and doubt the others: all of them when there was no answer in time."""
        if verdict is _SILENT:
            with self.shelf.lock:
                silent = list(self.shelf.idle)
                self.shelf.idle.clear()
            for other in silent:
                self.discard(other, "silent")
            self.discard(entry, "silent")
        else:
            self.discard(entry, "dead")
            self.sweep()

    def _timed_out(self, waited: float) -> PoolTimeout:
        with self.shelf.lock:
            self.shelf.tally.timeouts += 1
        if self.observers:
            self.tell(TimedOut(self.name, waited))
        return exhaustion.timeout(self, waited)

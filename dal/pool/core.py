"""The heart of every pool of dal: borrow, give back, and what happens when an object turns out dead.

`ObjectPool` and `ConnectionPool` are faces of it. Decisions are made under the shelf's lock, everything slow outside it.
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
        observers: Who is told the facts; the list may change.
    """

    def __init__(
        self,
        name: str,
        hooks: Hooks[T],
        lifetimes: Lifetimes,
        *,
        min_size: int,
        max_size: int,
        runtime: Runtime,
        observers: list[Observer],
    ) -> None:
        self.name, self.hooks, self.lifetimes, self.runtime = name, hooks, lifetimes, runtime
        self.observers = observers
        self.run = 0
        self.complaint = ""
        self.shelf: Shelf[T] = Shelf(min_size, max_size)
        self.maker = Maker(name, self.shelf, hooks, lifetimes, runtime=runtime, observers=self.observers)
        # Bound once: every borrow and return goes through them.
        self._idle, self._waits, self._uses = self.shelf.idle, self.shelf.tally.waits, self.shelf.tally.uses
        self._bypass, self._site = hooks.bypass, runtime.site
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
        began = now = monotonic()
        while True:
            try:
                entry = self._idle.pop() if self.shelf.serving else None
            except IndexError:
                entry = None
            if entry is None:
                entry = self._wait(began, began + timeout)
                now = monotonic()
            if now < entry.expires:
                try:
                    if now - entry.proven < self._bypass and not entry.peek(0):
                        break
                    verdict = self.hooks.check(entry, now, began + timeout)
                except BaseException:
                    self.discard("broken", entry)
                    raise
                if verdict is _ALIVE:
                    self.complaint = ""
                    break
                self.condemn(entry, verdict)
            else:
                self.discard("lifetime", entry)
            now = monotonic()
            if now - began >= timeout:
                raise self._refused(exhaustion.timeout(self, now - began), now - began)
        entry.taken = now
        entry.site = self._site(depth)
        entry.statement = ""
        self._waits.append(now - began)
        if self.observers:
            self.tell(Waited(self.name, now - began))
        return entry

    def give_back(self, entry: Entry[T]) -> None:
        """Return a borrowed object: to the first in the queue, or to the top of the stack."""
        shelf, now = self.shelf, monotonic()
        used = now - entry.taken
        entry.used += used
        entry.uses += 1
        self._uses.append(used)
        entry.returned = now
        if used < _LONG_USE:
            # What was out for long may have been silent for long: it proves itself again when borrowed.
            entry.proven = now
        entry.taken = 0.0
        if now >= entry.retire_at:
            self._end(entry, now)
        elif shelf.waiters:
            with shelf.lock:
                shelf.put(entry)
        else:
            self._idle.append(entry)
            # Looked at after the entry can be seen: who queued up or retired it meanwhile has missed it.
            if shelf.waiters or not entry.retire_at:
                self._reconsider(entry)
        if self.observers:
            self.tell(Returned(self.name, used))

    def drop(self, entry: Entry[T], reason: str = "broken") -> None:
        """Return a borrowed object that is of no more use."""
        used = monotonic() - entry.taken
        entry.used += used
        entry.uses += 1
        self._uses.append(used)
        entry.taken = 0.0
        self.discard(reason, entry)

    def discard(self, reason: str, *entries: Entry[T]) -> None:
        """Destroy objects that are neither idle nor in use, and make others if they are wanted."""
        now = monotonic()
        with self.shelf.lock:
            # All are struck off before the first is destroyed: destroying may be cut short, a place must not be lost.
            known = [entry for entry in entries if self.shelf.forget(entry, now)]
            if reason in {"dead", "silent"}:
                self.shelf.tally.failed_checks += len(known)
            makers = self.maker.summon()
        self.maker.start(makers)
        for entry in entries:
            self.hooks.destroy(entry.thing)
        if self.observers:
            for entry in known:
                self.tell(Closed(self.name, reason, now - entry.born))

    def sweep(self) -> None:
        """Look at every idle object after one died: the dead go, the others prove themselves before they are used."""
        with self.shelf.lock:
            dead = []
            for entry in list(self.shelf.idle):
                entry.proven = 0.0
                if not self.hooks.alive(entry) and self.shelf.pick(entry):
                    dead.append(entry)
        if dead:
            self.discard("dead", *dead)

    def retire(self, reason: str = "retired") -> None:
        """Replace everything: idle objects now, the others when they come back."""
        with self.shelf.lock:
            self.shelf.epoch += 1
            for entry in list(self.shelf.entries):
                entry.retire_at = entry.expires = entry.surplus = 0.0
            gone = self.shelf.clear()
        self.discard(reason, *gone)

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

    def ended(self, run: int) -> None:
        """Note that the background work of a run is over; the next borrow that waits begins another one."""
        with self.shelf.lock:
            if run == self.run:
                self.shelf.running = False
                self.shelf.settle()

    def stats(self) -> PoolStats:
        """Take a snapshot of the numbers."""
        return self.shelf.stats(monotonic())

    def tell(self, fact: object) -> None:
        """State a fact to the observers."""
        for observer in list(self.observers):
            state(observer, fact)

    def _end(self, entry: Entry[T], now: float) -> None:
        """Destroy what came back and is not to be used again, or keep it after all if the pool has shrunk enough."""
        shelf = self.shelf
        with shelf.lock:
            keep = now < entry.surplus and len(shelf.entries) <= shelf.max_size
            if keep:
                entry.retire_at, entry.surplus = entry.surplus, 0.0
                shelf.put(entry)
        if not keep:
            self.discard("lifetime" if entry.retire_at else "retired", entry)

    def _reconsider(self, entry: Entry[T]) -> None:
        with self.shelf.lock:
            retired = not entry.retire_at and self.shelf.pick(entry)
            self.shelf.serve()
        if retired:
            self.discard("retired", entry)

    def _wait(self, began: float, deadline: float) -> Entry[T]:
        shelf = self.shelf
        if not shelf.running or shelf.closed or self.runtime.moved():
            self.start()
        waiter = self.runtime.waiter()
        try:
            with shelf.lock:
                shelf.waiters.append(waiter)
                shelf.serve()
                makers = self.maker.summon() if waiter.entry is None else 0
                hopeless = waiter.entry is None and exhaustion.waits_for_itself(self, waiter)
            self.maker.start(makers)
            if hopeless:
                raise self._refused(exhaustion.self_wait(self), monotonic() - began)
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
            raise self._refused(exhaustion.timeout(self, waited), waited)
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
                silent = self.shelf.clear()
            self.discard("silent", entry, *silent)
        else:
            if entry.returned == entry.born:
                # A new object that fails its first check would be made again at once, and fail again.
                self.complaint = entry.complaint or "a new object failed its first check"
                self.maker.hold()
            self.discard("dead", entry)
            self.sweep()

    def _refused(self, error: PoolTimeout, waited: float) -> PoolTimeout:
        with self.shelf.lock:
            self.shelf.tally.timeouts += 1
        if self.observers:
            self.tell(TimedOut(self.name, waited))
        return error

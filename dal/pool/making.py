"""When another object is made: never by a borrower, never more than is wanted, never faster than a troubled server can bear.

A maker runs in the background while there is demand (borrowers waiting, or fewer objects than the minimum) and looks again
before each making: demand that has gone makes nothing. After a failure a single maker tries on, at intervals of a tenth of the
time the trouble has lasted, between 20 ms and 300 ms.
"""

from __future__ import annotations

import random
from time import monotonic
from typing import Generic, TypeVar

from dal.events import Observer, Opened, OpenFailed, state
from dal.pool.entry import Entry
from dal.pool.hooks import Hooks, Lifetimes
from dal.pool.runtime import Runtime
from dal.pool.shelf import Shelf

__all__ = ["Maker"]

T = TypeVar("T")

_MAKERS = 4
_SHORTEST, _LONGEST = 0.02, 0.3
_REFILL_LONGEST = 30.0


class Maker(Generic[T]):
    """Makes objects in the background.

    Attributes:
        last_error: The last failure, until a making succeeds.
    """

    def __init__(
        self, name: str, shelf: Shelf[T], hooks: Hooks[T], lifetimes: Lifetimes, *, runtime: Runtime, observers: list[Observer]
    ) -> None:
        self._name, self._shelf, self._hooks, self._lifetimes = name, shelf, hooks, lifetimes
        self._runtime, self._observers = runtime, observers
        self.last_error: BaseException | None = None
        self.reset()

    def reset(self) -> None:
        """Forget makers that no longer run, and the trouble there was."""
        self._active = 0
        self._troubled_since = self._try_at = self._refill_at = 0.0
        self.last_error = None

    def summon(self) -> int:
        """Work out how many more makers are wanted and count them as started. The lock is held; call `start` after it."""
        useful = self._shelf.opening + self._demand(monotonic())
        wanted = max(0, min(useful, _MAKERS if self.last_error is None else 1) - self._active)
        self._active += wanted
        return wanted

    def hold(self) -> None:
        """Make nothing for a moment: what was made last was of no use."""
        with self._shelf.lock:
            self._try_at = monotonic() + _LONGEST

    def start(self, makers: int) -> None:
        """Start what `summon` counted."""
        for started in range(makers):
            try:
                self._runtime.spawn(self._work, f"{self._name}-maker")
            except BaseException:
                with self._shelf.lock:
                    self._active -= makers - started
                raise

    def _demand(self, now: float) -> int:
        """Objects worth making now. The lock is held."""
        shelf = self._shelf
        if shelf.closed:
            return 0
        waiting = len(shelf.waiters) - shelf.opening if not shelf.suspended else 0
        below = shelf.min_size - shelf.size if shelf.running and now >= self._refill_at else 0
        return max(0, min(shelf.max_size - shelf.size, max(waiting, below)))

    def _work(self) -> None:
        ended = False
        try:
            while not ended:
                with self._shelf.lock:
                    now = monotonic()
                    alone = self.last_error is None or self._active == 1
                    ended = not alone or self._demand(now) == 0
                    patience = self._try_at - now
                    ready = not ended and patience <= 0
                    self._shelf.opening += ready
                    epoch = self._shelf.epoch
                if ready:
                    self._make(epoch)
                elif not ended:
                    self._runtime.pause(patience)
        finally:
            with self._shelf.lock:
                self._active = max(0, self._active - 1)
                # Cut off by the end of its event loop, a maker leaves no other one behind.
                more = self.summon() if ended and self._active == 0 else 0
            self.start(more)

    def _make(self, epoch: int) -> None:
        started = monotonic()
        try:
            entry = self._made()
        except Exception as error:
            self._failed(error, monotonic() - started)
            return
        except BaseException:
            with self._shelf.lock:
                self._shelf.opening -= 1
            raise
        with self._shelf.lock:
            self._shelf.opening -= 1
            self._shelf.tally.connecting_seconds += entry.born - started
            current = epoch == self._shelf.epoch and not self._shelf.closed
            more = 0
            if current:
                self._shelf.tally.opened += 1
                self._shelf.entries.add(entry)
                self._troubled_since = self._try_at = self._refill_at = 0.0
                self.last_error = None
                self._shelf.put(entry)
                more = self.summon()
        if not current:
            self._hooks.destroy(entry.thing)
            return
        self.start(more)
        for observer in self._observers:
            state(observer, Opened(self._name, entry.born - started))

    def _made(self) -> Entry[T]:
        thing = self._hooks.make()
        entry = Entry(thing, monotonic())
        self._lifetimes.begin(entry, entry.born)
        try:
            self._hooks.prepare(entry)
        except BaseException:
            self._hooks.destroy(thing)
            raise
        return entry

    def _failed(self, error: BaseException, took: float) -> None:
        now = monotonic()
        hopeless = not self._hooks.transient(error)
        with self._shelf.lock:
            self._shelf.opening -= 1
            self._shelf.tally.failed_opens += 1
            self._shelf.tally.connecting_seconds += took
            self.last_error = error
            self._troubled_since = self._troubled_since or now - took
            trouble = now - self._troubled_since
            self._try_at = now + min(max(trouble / 10, _SHORTEST), _LONGEST) * random.uniform(0.8, 1.2)
            self._refill_at = now + min(max(trouble, 1.0), _REFILL_LONGEST)
            if hopeless:
                while self._shelf.waiters:
                    self._shelf.waiters.popleft().fail(self._hooks.failure(error))
        for observer in self._observers:
            state(observer, OpenFailed(self._name, took, error))

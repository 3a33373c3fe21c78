"""What a pool calls to make, check and destroy its objects, and how long they live."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from dal.pool.entry import Entry, Verdict

__all__ = ["Hooks", "Lifetimes"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hooks(Generic[T]):
    """The functions behind a pool.

    Attributes:
        make: Makes an object; runs in the background only.
        destroy: Ends one; must not raise.
        bypass: For how many seconds after a proof of life `Entry.peek` is enough at a borrow.
        check: Called at any other borrow with the time and the borrower's deadline.
        prove: Called in the background for an object unproven for `Lifetimes.keepalive`.
        alive: Tells whether an idle object looks alive, without waiting or touching it: a borrower may take it meanwhile.
        prepare: Called once with a new entry, outside the lock.
        transient: Tells whether making is worth trying again after this error.
        failure: Turns the error of a making into what its waiters get.
        abort: Breaks off whatever an object in use is doing, from another thread.
        orphan: Lets go of an object in a forked child, unheard by the parent.
    """

    make: Callable[[], T]
    destroy: Callable[[T], object]
    bypass: float
    check: Callable[[Entry[T], float, float], Verdict]
    prove: Callable[[Entry[T]], Verdict]
    alive: Callable[[Entry[T]], bool]
    prepare: Callable[[Entry[T]], object]
    transient: Callable[[BaseException], bool]
    failure: Callable[[BaseException], BaseException]
    abort: Callable[[T], object]
    orphan: Callable[[T], object]


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long objects live, lie idle and stay unproven, in seconds.

    An object is replaced at a random moment in the last tenth of its `max_lifetime`, so that objects made together do not end
    together.
    """

    max_lifetime: float
    idle_timeout: float
    keepalive: float
    leak_threshold: float

    @property
    def tick(self) -> float:
        """How often maintenance looks: ten times within the shortest of them, between 20 ms and 1 s."""
        shortest = min(self.max_lifetime / 10, self.idle_timeout, self.keepalive, self.leak_threshold or self.idle_timeout)
        return min(1.0, max(0.02, shortest / 10))

    def begin(self, entry: Entry[T], now: float) -> None:
        """Give a new entry the moments of its end."""
        entry.expires = now + self.max_lifetime
        entry.retire_at = entry.expires - self.max_lifetime * 0.1 * random.random() - 2 * self.tick

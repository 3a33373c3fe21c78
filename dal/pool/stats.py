"""What a pool has done, in numbers: a running tally inside, a frozen snapshot outside."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Percentiles", "PoolStats", "Tally"]

_WINDOW = 1000


@dataclass(frozen=True, slots=True)
class Percentiles:
    """How long something took, in seconds, over the last 1,000 times.

    Example:
        >>> Percentiles.of([0.1] * 98 + [0.5, 0.9])
        Percentiles(p50=0.1, p95=0.1, p99=0.5, max=0.9)
    """

    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, samples: Iterable[float]) -> Percentiles:
        """Take the percentiles of samples; all are 0 when there is none."""
        ordered = sorted(samples) or [0.0]
        last = len(ordered) - 1
        return cls(*(ordered[min(last, int(len(ordered) * share - 1e-9))] for share in (0.5, 0.95, 0.99, 1.0)))


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A pool at one moment, and what it has done since it was made. Times are in seconds.

    Attributes:
        size: Objects that exist: idle, in use and being checked.
        idle: Objects ready to be borrowed.
        in_use: Objects borrowed.
        opening: Objects being made.
        waiting: Borrowers in the queue.
        min_size: Objects kept ready.
        max_size: Objects at most.
        acquired: Borrows that got an object.
        timeouts: Borrows that did not.
        opened: Objects made.
        failed_opens: Attempts to make one that failed.
        closed: Objects destroyed, for whatever reason.
        failed_checks: Objects destroyed because a check found them dead or silent.
        leaks: Borrows that went over the leak threshold.
        wait: How long borrowers waited.
        use: How long objects were out.
        waited_seconds: Sum of the time borrowers waited.
        connecting_seconds: Sum of the time spent on making objects, also in vain.
        in_use_seconds: Sum of the time objects were out.
        idle_seconds: Sum of the time objects lay ready.
    """

    size: int
    idle: int
    in_use: int
    opening: int
    waiting: int
    min_size: int
    max_size: int
    acquired: int
    timeouts: int
    opened: int
    failed_opens: int
    closed: int
    failed_checks: int
    leaks: int
    wait: Percentiles
    use: Percentiles
    waited_seconds: float
    connecting_seconds: float
    in_use_seconds: float
    idle_seconds: float


class Tally:
    """The counters behind `PoolStats`; changed under the pool's lock, the two windows by atomic appends.

    What living objects have done is kept with them and added when they are destroyed.
    """

    __slots__ = (
        "alive_seconds",
        "closed",
        "connecting_seconds",
        "failed_checks",
        "failed_opens",
        "in_use_seconds",
        "leaks",
        "opened",
        "returned",
        "timeouts",
        "uses",
        "waited_seconds",
        "waits",
    )

    def __init__(self) -> None:
        self.waits: deque[float] = deque(maxlen=_WINDOW)
        self.uses: deque[float] = deque(maxlen=_WINDOW)
        self.reset()

    def reset(self) -> None:
        """Begin counting anew."""
        self.opened = self.failed_opens = self.closed = self.failed_checks = 0
        self.returned = self.timeouts = self.leaks = 0
        self.waited_seconds = self.connecting_seconds = self.in_use_seconds = self.alive_seconds = 0.0
        self.waits.clear()
        self.uses.clear()

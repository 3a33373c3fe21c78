"""The breaker that closes a strategy which does not pay.

It looks at the last 100 prefetches of which is known whether they were used. From 20 on, with a precision below a quarter, only
every fiftieth is let through, to see whether things have changed.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Breaker"]

WINDOW, ENOUGH, LEAST, PROBE_EVERY = 100, 20, 0.25, 50


class Breaker:
    """What became of the latest prefetches of one strategy for one template.

    Example:
        >>> breaker = Breaker()
        >>> for _ in range(20):
        ...     breaker.resolve(used=False)
        >>> breaker.open, sum(breaker.lets_through() for _ in range(100))
        (True, 2)
    """

    __slots__ = ("_asked", "_used", "_window")

    def __init__(self) -> None:
        self._window: deque[bool] = deque(maxlen=WINDOW)
        self._used = 0
        self._asked = 0

    @property
    def open(self) -> bool:
        """Whether it holds prefetches back."""
        return self.resolved >= ENOUGH and self._used < self.resolved * LEAST

    @property
    def resolved(self) -> int:
        """How many prefetches it looks at."""
        return len(self._window)

    @property
    def used(self) -> int:
        """How many of these were used."""
        return self._used

    def lets_through(self) -> bool:
        """Tell whether the next prefetch may go, for one that has passed everything else."""
        if not self.open:
            return True
        self._asked += 1
        return self._asked % PROBE_EVERY == 0

    def resolve(self, *, used: bool) -> None:
        """Note what became of a prefetch."""
        if len(self._window) == WINDOW:
            self._used -= self._window[0]
        self._window.append(used)
        self._used += used

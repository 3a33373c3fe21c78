"""What the prefetcher has done, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from dal.prefetch.decisions import Outcome

__all__ = ["PrefetchStats", "StrategyStats"]


@dataclass(frozen=True, slots=True)
class StrategyStats:
    """What became of the prefetches of one strategy.

    Attributes:
        sent: Statements sent ahead.
        used: Those whose result was asked for.
        wasted: Those whose result was not, or not in time, or was overtaken by a write, or that failed.
        held_back: For how many templates the breaker is open.
    """

    sent: int
    used: int
    wasted: int
    held_back: int

    @classmethod
    def of(cls, outcomes: Counter[Outcome], held_back: int) -> StrategyStats:
        """Sum up what became of prefetches."""
        wasted = outcomes["wasted"] + outcomes["dropped"] + outcomes["failed"]
        return cls(sent=outcomes["used"] + wasted, used=outcomes["used"], wasted=wasted, held_back=held_back)

    @property
    def precision(self) -> float:
        """Used among those of which it is known; 0 when it is of none."""
        return _ratio(self.used, self.used + self.wasted)


@dataclass(frozen=True, slots=True)
class PrefetchStats:
    """Prefetching since the database was opened.

    Attributes:
        demands: What was asked for through pagers.
        hits: Demands that were answered without a statement.
        prefetch_hits: Those among them that a prefetch had loaded.
        sent: Statements sent ahead.
        used: Those whose result was asked for.
        wasted: Those whose result was not.
        waiting: Those in flight or in the cache, of which it is not known yet.
        budget: Statements that may be sent ahead now.
        strategies: The same by strategy.
    """

    demands: int
    hits: int
    prefetch_hits: int
    sent: int
    used: int
    wasted: int
    waiting: int
    budget: float
    strategies: Mapping[str, StrategyStats]

    @property
    def hit_ratio(self) -> float:
        """Demands answered without a statement, among all."""
        return _ratio(self.hits, self.demands)

    @property
    def precision(self) -> float:
        """Used among those prefetches of which it is known; 0 when it is of none."""
        return _ratio(self.used, self.used + self.wasted)

    @property
    def waste(self) -> float:
        """Wasted statements for each demand."""
        return _ratio(self.wasted, self.demands)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0

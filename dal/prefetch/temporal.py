"""temporal(): what is asked at this hour of the week, loaded shortly before it.

For each of the 168 hours of a week it counts which requests come, and in how many weeks; older weeks weigh half. Some minutes
before an hour begins, what was asked most is loaded, within the budget. Hours are UTC. It needs at least a week of running,
and a cache that keeps pages for longer than `before`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dal.durations import Duration, seconds
from dal.errors import UsageError
from dal.prefetch.requests import Model, Request, Seen, Thought
from dal.prefetch.settings import whole

__all__ = ["Temporal", "temporal"]

HOUR, HOURS = 3600.0, 168
_MOST, _KEPT = 20, 4


@dataclass(frozen=True, kw_only=True)
class Temporal:
    """The strategy as it is written down; made by `temporal()`."""

    top: int
    before: float
    name: str = "temporal"

    def begin(self) -> Model:
        """Make a model that has learned nothing yet."""
        return _Week(self.top, self.before)


def temporal(*, top: int = 10, before: Duration = "5m") -> Temporal:
    """Load what is usually asked at an hour of the week before the hour begins.

    Args:
        top: How many requests for an hour at most, 1 to 20.
        before: How long before the hour, less than an hour.

    Returns:
        The strategy, for `db.pager(prefetch=...)`.

    Raises:
        UsageError: A number is out of range.
        ConfigError: `before` is no duration.

    Example:
        >>> temporal(top=5).before
        300.0
    """
    ahead = seconds(before, name="before")
    if not 0 < ahead < HOUR:
        raise UsageError(f"before is {before!r}", hint='before is less than an hour, such as "5m"')
    return Temporal(top=whole(top, "top", least=1, most=_MOST), before=ahead)


@dataclass(slots=True)
class _Count:
    times: float = 0.0
    weeks: float = 0.0
    last: int = -1


@dataclass(slots=True)
class _Hour:
    """What was asked in one hour of the week; `weeks` are those in which anything was, the older ones weighing half."""

    weeks: float = 0.0
    last: int = -1
    counts: dict[Request, _Count] = field(default_factory=dict)


class _Week:
    def __init__(self, top: int, before: float) -> None:
        self._top = top
        self._before = before
        self._hours: dict[int, _Hour] = {}

    def observe(self, seen: Seen) -> list[Thought]:
        number = int(seen.at // HOUR)
        week, of_week = divmod(number, HOURS)
        hour = self._hours.setdefault(of_week, _Hour())
        if hour.last != week:
            hour.weeks, hour.last = hour.weeks / 2 + 1, week
            for each in hour.counts.values():
                each.times, each.weeks = each.times / 2, each.weeks / 2
        count = hour.counts.get(seen.request)
        if count is None:
            count = hour.counts[seen.request] = self._newcomer(hour)
        count.times += 1
        if count.last != week:
            count.weeks, count.last = count.weeks + 1, week
        return []

    def _newcomer(self, hour: _Hour) -> _Count:
        """Make room for a request among those of an hour: it takes over the count of the rarest, as in space-saving."""
        if len(hour.counts) < self._top * _KEPT:
            return _Count()
        rarest = min(hour.counts, key=lambda request: hour.counts[request].times)
        return _Count(times=hour.counts.pop(rarest).times)

    def next_due(self, at: float) -> float:
        """Tell when to look for what to load next, in seconds since 1970."""
        due = (at // HOUR + 1) * HOUR - self._before
        return due if due > at else due + HOUR

    def due(self, at: float) -> list[Thought]:
        """Return what to load for the hour that begins soon."""
        week, of_week = divmod(int(at // HOUR) + 1, HOURS)
        hour = self._hours.get(of_week)
        if hour is None or hour.last >= week:
            return []
        likely = sorted(hour.counts.items(), key=lambda each: -each[1].times)[: self._top]
        return [
            Thought(
                f"asked in this hour of the week, in {count.weeks:.3g} of {hour.weeks:.3g} weeks, the older ones weighing half",
                (request,),
                count.weeks / (hour.weeks + 1),
            )
            for request, count in likely
        ]

"""Windows in event time: tumbling, sliding, and sessions; each group's aggregates, told once when the window is over.

A window is over when the watermark passes its end: the latest time seen, less `lateness`. Where the time is that of the commit
(the default), the server's clock moves the watermark too, so that the last window of a quiet stream is told as well. What
comes for a window that is over is late: it goes to `late`, or is counted and left out. What is open is kept with the stream's
position, so that a restart changes no result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from dal.streams.aggregates import AggregateFunction
from dal.streams.stage import Event

__all__ = ["UNIX", "WINDOW", "FixedWindows", "SessionWindows", "WindowSpec", "micros"]

UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)
_NEVER = -(2**63)

WINDOW = ("window_start", "window_end")
"""What every result has, beside its group and its aggregates."""


@dataclass(frozen=True, kw_only=True)
class WindowSpec:
    """What every kind of window needs to know; times in microseconds.

    Args:
        by: Takes the parts of the group's key out of an item, by the names they get in the result.
        aggregate: What is computed, by the names of the results.
        at: Takes the time out of an item; None for the time of its commit.
        lateness: How far the watermark stays behind the latest time seen.
        idle: After how long without an item the clock moves the watermark, where `at` is given; None: never.
        late: Is given each late item and its time.
    """

    by: Mapping[str, Callable[[Any], Any]]
    aggregate: Mapping[str, AggregateFunction]
    at: Callable[[Any], Any] | None = None
    lateness: int = 1_000_000
    idle: int | None = None
    late: Callable[[Any, datetime], object] = field(default=lambda item, at: None)


class _Windows:
    """The watermark and the groups; what a window spans is the subclasses' matter."""

    def __init__(self, spec: WindowSpec, settle: Callable[[Any], Any]) -> None:
        self._spec, self._settle = spec, settle
        self._keys = tuple(spec.by.values())
        self._functions = tuple(spec.aggregate.values())
        self._watermark, self._latest, self._heard = _NEVER, _NEVER, _NEVER
        self.late = 0

    def _moment(self, item: Any, committed: int) -> int:
        return committed if self._spec.at is None else micros(self._spec.at(item))

    def _group(self, item: Any) -> tuple[Any, ...]:
        return tuple([key(item) for key in self._keys])

    def _fresh(self) -> list[Any]:
        return [function.start for function in self._functions]

    def _step(self, states: list[Any], item: Any) -> None:
        for index, function in enumerate(self._functions):
            states[index] = function.step(states[index], function.value(item))

    def _saw(self, moment: int) -> None:
        if moment > self._latest:
            self._latest = moment
            self._watermark = max(self._watermark, moment - self._spec.lateness)

    def _clocked(self, clock: int) -> None:
        if self._spec.at is None:
            self._watermark = max(self._watermark, clock - self._spec.lateness)
        elif self._spec.idle is not None:
            if self._heard == _NEVER:
                self._heard = clock
            if clock - self._heard >= self._spec.idle:
                self._watermark = max(self._watermark, clock - self._spec.idle - self._spec.lateness)

    def _too_late(self, item: Any, moment: int) -> None:
        self.late += 1
        self._settle(self._spec.late(item, UNIX + timedelta(microseconds=moment)))

    def _result(self, start: int, end: int, group: tuple[Any, ...], states: list[Any]) -> Event:
        row = {
            "window_start": UNIX + timedelta(microseconds=start),
            "window_end": UNIX + timedelta(microseconds=end),
            **dict(zip(self._spec.by, group, strict=True)),
            **{
                name: function.finish(state)
                for (name, function), state in zip(self._spec.aggregate.items(), states, strict=True)
            },
        }
        return row, end - 1


class FixedWindows(_Windows):
    """Tumbling windows, or sliding ones where they begin more often than they last.

    Args:
        spec: What to compute.
        settle: Awaits what `late` returned, through the asyncio door.
        size: How long a window lasts.
        every: How often one begins.
    """

    def __init__(self, spec: WindowSpec, settle: Callable[[Any], Any], size: int, every: int) -> None:
        super().__init__(spec, settle)
        self._size, self._every = size, every
        self._open: dict[int, dict[tuple[Any, ...], list[Any]]] = {}

    @property
    def waits(self) -> bool:
        """Whether a window is open."""
        return bool(self._open)

    def apply(self, events: list[Event]) -> list[Event]:
        """Put each item into its windows; return the results of those that are over.

        Args:
            events: Items and the times of their commits.
        """
        size, every, opened = self._size, self._every, self._open
        for item, committed in events:
            moment = self._moment(item, committed)
            self._saw(moment)
            start = moment - moment % every
            if start + size <= self._watermark:
                self._too_late(item, moment)
                continue
            group = self._group(item)
            while start > moment - size and start + size > self._watermark:
                groups = opened.setdefault(start, {})
                states = groups.get(group)
                if states is None:
                    states = groups[group] = self._fresh()
                self._step(states, item)
                start -= every
        if events:
            self._heard = _NEVER
        return self._finished()

    def advance(self, clock: int) -> list[Event]:
        """Move the watermark with the clock.

        Args:
            clock: The time up to which everything was read.
        """
        self._clocked(clock)
        return self._finished()

    def keep(self) -> Any:
        """Return the watermark and the open windows."""
        opened = [(start, [(group, tuple(states)) for group, states in groups.items()]) for start, groups in self._open.items()]
        return (self._watermark, self._latest, opened)

    def restore(self, kept: Any) -> None:
        """Go on from what was kept.

        Args:
            kept: What `keep()` returned, or None.
        """
        self._watermark, self._latest, opened = kept if kept is not None else (_NEVER, _NEVER, ())
        self._open = {start: {group: list(states) for group, states in groups} for start, groups in opened}

    def _finished(self) -> list[Event]:
        over = sorted(start for start in self._open if start + self._size <= self._watermark)
        return [
            self._result(start, start + self._size, group, states)
            for start in over
            for group, states in self._open.pop(start).items()
        ]


class SessionWindows(_Windows):
    """Sessions: a group's items that follow each other within a gap; told when the gap has passed.

    Args:
        spec: What to compute.
        settle: Awaits what `late` returned, through the asyncio door.
        gap: How long nothing has to come for a session to be over.
    """

    def __init__(self, spec: WindowSpec, settle: Callable[[Any], Any], gap: int) -> None:
        super().__init__(spec, settle)
        self._gap = gap
        self._open: dict[tuple[Any, ...], list[tuple[int, int, list[Any]]]] = {}

    @property
    def waits(self) -> bool:
        """Whether a session is open."""
        return bool(self._open)

    def apply(self, events: list[Event]) -> list[Event]:
        """Put each item into its session, growing sessions together where it fills the gap; return those that are over.

        Args:
            events: Items and the times of their commits.
        """
        gap = self._gap
        for item, committed in events:
            moment = self._moment(item, committed)
            self._saw(moment)
            group = self._group(item)
            sessions = self._open.get(group, [])
            live = [each for each in sessions if each[1] + gap > self._watermark]
            near = [each for each in live if each[0] - gap < moment < each[1] + gap]
            if not near and moment + gap <= self._watermark:
                self._too_late(item, moment)
                continue
            states = self._fresh()
            self._step(states, item)
            start = end = moment
            for each in reversed(near):
                first, second = (each[2], states) if each[0] <= start else (states, each[2])
                states = [function.merge(a, b) for function, a, b in zip(self._functions, first, second, strict=True)]
                start, end = min(start, each[0]), max(end, each[1])
            rest = [each for each in sessions if each not in near]
            self._open[group] = sorted([*rest, (start, end, states)], key=lambda each: each[0])
        if events:
            self._heard = _NEVER
        return self._finished()

    def advance(self, clock: int) -> list[Event]:
        """Move the watermark with the clock.

        Args:
            clock: The time up to which everything was read.
        """
        self._clocked(clock)
        return self._finished()

    def keep(self) -> Any:
        """Return the watermark and the open sessions."""
        opened = [
            (group, [(start, end, tuple(states)) for start, end, states in sessions]) for group, sessions in self._open.items()
        ]
        return (self._watermark, self._latest, opened)

    def restore(self, kept: Any) -> None:
        """Go on from what was kept.

        Args:
            kept: What `keep()` returned, or None.
        """
        self._watermark, self._latest, opened = kept if kept is not None else (_NEVER, _NEVER, ())
        self._open = {group: [(start, end, list(states)) for start, end, states in sessions] for group, sessions in opened}

    def _finished(self) -> list[Event]:
        over = []
        for group in list(self._open):
            sessions = self._open[group]
            done = [each for each in sessions if each[1] + self._gap <= self._watermark]
            over += [(end + self._gap, start, group, states) for start, end, states in done]
            left = [each for each in sessions if each[1] + self._gap > self._watermark]
            if left:
                self._open[group] = left
            else:
                del self._open[group]
        over.sort(key=lambda each: each[:2])
        return [self._result(start, end, group, states) for end, start, group, states in over]


def micros(moment: Any) -> int:
    """Turn a time into microseconds since 1970.

    Args:
        moment: A datetime, in UTC where it has no time zone, or seconds since 1970.

    Example:
        >>> micros(datetime(1970, 1, 1, 0, 0, 1)), micros(1.5)
        (1000000, 1500000)
    """
    if isinstance(moment, datetime):
        return ((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)) - UNIX) // _MICRO
    return round(float(moment) * 1_000_000)

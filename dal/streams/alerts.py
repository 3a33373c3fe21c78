"""Alerts: a rule looks at each window's result (or any item) and tells when a value leaves its bounds, and when it is back.

Hysteresis: an alert is raised at one bound and cleared at another, so that a value that wavers around a bound tells once. What
is raised is kept with the stream's position: a restart tells nothing twice that was told and committed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from dal.errors import UsageError
from dal.streams.fields import Field, getter, named_getters
from dal.streams.stage import Event
from dal.streams.window import UNIX

__all__ = ["Alert", "AlertStage", "Anomaly", "Rule", "Threshold"]


@dataclass(frozen=True, slots=True)
class Alert:
    """Something a rule tells.

    Attributes:
        rule: The rule's name.
        state: `"raised"` or `"cleared"`.
        group: What it is about, by the names of `by`.
        value: The value that did it.
        limit: The bound it passed.
        at: When, in event time.
        item: The window's result or item.
    """

    rule: str
    state: Literal["raised", "cleared"]
    group: dict[str, Any]
    value: Any
    limit: float
    at: datetime
    item: Any = field(repr=False)


class Rule(Protocol):
    """Judges values, one group at a time."""

    @property
    def name(self) -> str:
        """The rule's name."""
        ...

    @property
    def value(self) -> Field:
        """What is judged."""
        ...

    @property
    def by(self) -> Field:
        """What tells groups apart."""
        ...

    def judge(self, value: Any, raised: bool, history: list[float]) -> tuple[bool, float]:
        """Return whether the alert is to be raised now, and the bound; `history` is the rule's own to keep."""
        ...


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Raise when a value passes a bound, clear when it is back behind another.

    Args:
        value: The value: `"revenue"`, `Sale.total` or a function of the item.
        above: Raise above this.
        below: Raise below this; one of the two.
        clear: Clear at this or on its good side; the raising bound by default.
        by: What tells groups apart.
        name: The rule's name.

    Raises:
        UsageError: Not one bound, or it would clear on its bad side.
    """

    value: Field
    above: float | None = None
    below: float | None = None
    clear: float | None = None
    by: Field = None
    name: str = "threshold"

    def __post_init__(self) -> None:
        if (self.above is None) == (self.below is None):
            raise UsageError("a threshold has one bound", hint="Threshold(value='late', above=20, clear=15)")
        bound = self.above if self.above is not None else self.below
        far = 0.0 if self.clear is None or bound is None else self.clear - bound
        if (far > 0) if self.above is not None else (far < 0):
            raise UsageError("an alert is cleared on the good side of its bound", hint="above=20, clear=15; below=5, clear=8")

    def judge(self, value: Any, raised: bool, history: list[float]) -> tuple[bool, float]:
        """Compare with the bound that counts now.

        Args:
            value: The value.
            raised: Whether the alert is raised.
            history: Not needed.
        """
        first = self.above if self.above is not None else self.below
        assert first is not None
        bound = first if not raised or self.clear is None else self.clear
        return (value > bound if self.above is not None else value < bound), bound


@dataclass(frozen=True, kw_only=True)
class Anomaly:
    """Raise when a value is far from what its group's values were lately, in standard deviations.

    Values seen while raised are not learned, so that a lasting fault does not become the rule.

    Args:
        value: The value: `"revenue"`, `Sale.total` or a function of the item.
        over: How many past values are looked at.
        sigmas: Raise beyond this many standard deviations from their mean.
        clear: Clear within this many.
        after: How many values are learned before anything is told.
        by: What tells groups apart.
        name: The rule's name.

    Raises:
        UsageError: The numbers contradict each other.
    """

    value: Field
    over: int = 60
    sigmas: float = 4.0
    clear: float = 2.0
    after: int = 10
    by: Field = None
    name: str = "anomaly"

    def __post_init__(self) -> None:
        if not 2 <= self.after <= self.over or not 0 < self.clear <= self.sigmas:
            raise UsageError("an anomaly needs 2 <= after <= over and 0 < clear <= sigmas", hint="Anomaly(value='revenue')")

    def judge(self, value: Any, raised: bool, history: list[float]) -> tuple[bool, float]:
        """Compare with the past, and learn the value where it is no anomaly.

        Args:
            value: The value.
            raised: Whether the alert is raised.
            history: The group's past values.
        """
        number = float(value)
        if len(history) < self.after:
            history.append(number)
            return False, number
        mean = math.fsum(history) / len(history)
        spread = math.sqrt(math.fsum((each - mean) ** 2 for each in history) / (len(history) - 1))
        spread = max(spread, 1e-9 * max(1.0, abs(mean)))
        allowed = (self.clear if raised else self.sigmas) * spread
        found = abs(number - mean) > allowed
        if not found:
            history.append(number)
            del history[: -self.over]
        return found, mean + math.copysign(allowed, number - mean)


class AlertStage:
    """Turns items into the alerts of a rule; items themselves end here.

    Args:
        rule: The rule.
    """

    waits = False

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._value = getter(rule.value)
        self._by: dict[str, Callable[[Any], Any]] = named_getters(rule.by)
        self._groups: dict[tuple[Any, ...], tuple[bool, list[float]]] = {}

    def apply(self, events: list[Event]) -> list[Event]:
        """Judge items.

        Args:
            events: Items and their times.
        """
        told: list[Event] = []
        for item, at in events:
            value = self._value(item)
            if value is None:
                continue
            group = tuple(get(item) for get in self._by.values())
            raised, history = self._groups.get(group, (False, []))
            now, limit = self._rule.judge(value, raised, history)
            self._groups[group] = (now, history)
            if now != raised:
                names = dict(zip(self._by, group, strict=True))
                moment = UNIX + timedelta(microseconds=at)
                told.append((Alert(self._rule.name, "raised" if now else "cleared", names, value, limit, moment, item), at))
        return told

    def advance(self, clock: int) -> list[Event]:
        """Do nothing: only values count."""
        return []

    def keep(self) -> Any:
        """Return what is raised, and the values learned."""
        return [(group, raised, history) for group, (raised, history) in self._groups.items()]

    def restore(self, kept: Any) -> None:
        """Go on from what was kept.

        Args:
            kept: What `keep()` returned, or None.
        """
        self._groups = {group: (raised, list(history)) for group, raised, history in kept or ()}

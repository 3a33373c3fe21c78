"""What a stream is told to do on its way, as a value: the operators are the same in both doors, and are made here.

A step is a function that makes the stage when a flow starts, so that a stream can be described once and run many times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy.orm import Session

from dal.durations import Duration, seconds
from dal.errors import UsageError
from dal.streams.aggregates import AggregateFunction
from dal.streams.alerts import Alert, AlertStage, Rule
from dal.streams.fields import Field, getter, named_getters
from dal.streams.loop import Batching
from dal.streams.operators import enriched, entity_look_up, filtered, flat_mapped, mapped
from dal.streams.stage import Stage
from dal.streams.window import WINDOW, FixedWindows, SessionWindows, WindowSpec

__all__ = [
    "Gives",
    "Settle",
    "Step",
    "alert_step",
    "batching_of",
    "enrich_step",
    "filter_step",
    "flat_map_step",
    "map_step",
    "window_step",
]

Settle = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Gives:
    """What the items of a stream have, where that can be known before there is one.

    Attributes:
        names: The names of their values.
        all_written: Whether a table has to have all of them, or takes those it has.
    """

    names: frozenset[str]
    all_written: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        make: Makes the stage, given what awaits a caller's function.
        gives: What its items have; None where only its function knows.
        keeps: Whether its items are those it was given.
    """

    make: Callable[[Settle], Stage]
    gives: Gives | None = None
    keeps: bool = False

    def __call__(self, settle: Settle) -> Stage:
        """Make the stage."""
        return self.make(settle)


def filter_step(wanted: Callable[[Any], object]) -> Step:
    """Describe a filter."""
    function = _called(wanted, "filter")
    return Step(lambda settle: filtered(function), keeps=True)


def map_step(function: Callable[[Any], Any]) -> Step:
    """Describe a map."""
    called = _called(function, "map")
    return Step(lambda settle: mapped(called))


def flat_map_step(function: Callable[[Any], Any]) -> Step:
    """Describe a flat_map."""
    called = _called(function, "flat_map")
    return Step(lambda settle: flat_mapped(called))


def enrich_step(
    look_up: Any, by: Field, into: Callable[[Any, Any], Any] | None, size: int, sessions: Callable[[], Session]
) -> Step:
    """Describe a look-up."""
    if not isinstance(size, int) or size < 1:
        raise UsageError(f"enrich(size={size!r}): how many keys are looked up at a time", hint="size=1000")
    found = entity_look_up(look_up, sessions) if isinstance(look_up, type) else _called(look_up, "enrich")
    getter(by)
    return Step(lambda settle: enriched(found, by, into or (lambda item, looked_up: (item, looked_up)), settle, size))


def alert_step(rule: Rule) -> Step:
    """Describe alerts."""
    if not callable(getattr(rule, "judge", None)):
        raise UsageError(f"{rule!r} is no rule", hint="alert(Threshold(value='late', above=20, clear=15))")
    return Step(lambda settle: AlertStage(rule), Gives(frozenset(each.name for each in fields(Alert)), all_written=False))


def batching_of(size: int, wait: Duration) -> Batching:
    """Check micro-batches."""
    if not isinstance(size, int) or size < 1:
        raise UsageError(f"batch(size={size!r}): how many items at a time", hint="batch(size=500, seconds=1)")
    return Batching(size, seconds(wait, name="seconds"))


def window_step(
    *,
    size: Duration | None,
    every: Duration | None,
    gap: Duration | None,
    by: Field,
    aggregate: Mapping[str, AggregateFunction],
    at: Field,
    lateness: Duration,
    idle: Duration | None,
    late: Callable[[Any, Any], object] | None,
) -> Step:
    """Describe a window; see `Stream.window`."""
    if not isinstance(aggregate, Mapping):
        raise UsageError(f"aggregate={aggregate!r} names nothing", hint='aggregate={"revenue": sum_of(Sale.total)}')
    if (size is None) == (gap is None) or (gap is not None and every is not None):
        raise UsageError(
            "a window has seconds=, or seconds= and every=, or gap=",
            hint="window(seconds=60, ...), window(seconds=60, every=10, ...) slides, window(gap=30, ...) makes sessions",
        )
    keys = named_getters(by)
    wrong = [name for name, each in aggregate.items() if not isinstance(each, AggregateFunction)]
    twice = sorted(set(keys) & {*aggregate, *WINDOW})
    if wrong or not aggregate:
        raise UsageError(
            f"aggregate= has to name what is computed{': ' + ', '.join(wrong) if wrong else ''}",
            hint='aggregate={"revenue": sum_of(Sale.total)}',
        )
    if twice:
        raise UsageError(f"{', '.join(twice)} would be in the result twice", hint="by={'another_name': Sale.shop}")
    spec = WindowSpec(
        by=keys,
        aggregate=dict(aggregate),
        at=None if at is None else getter(at),
        lateness=_span(lateness, "lateness"),
        idle=None if idle is None else _span(idle, "idle"),
        late=late or (lambda item, moment: None),
    )
    gives = Gives(frozenset({*WINDOW, *keys, *aggregate}))
    if gap is not None:
        pause = _positive(gap, "gap")
        return Step(lambda settle: SessionWindows(spec, settle, pause), gives)
    length = _positive(size, "seconds")
    step = length if every is None else _positive(every, "every")
    if step > length:
        raise UsageError("windows that begin less often than they last leave out what is between", hint="every <= seconds")
    return Step(lambda settle: FixedWindows(spec, settle, length, step), gives)


def _span(value: Duration, name: str) -> int:
    return round(seconds(value, name=name) * 1_000_000)


def _positive(value: Any, name: str) -> int:
    found = _span(value, name)
    if found <= 0:
        raise UsageError(f"window({name}=0): a window lasts some time", hint=f"{name}=60")
    return found


def _called(function: Any, operator: str) -> Any:
    if not callable(function):
        raise UsageError(f"{operator}() takes a function, not {function!r}", hint=f"{operator}(lambda change: ...)")
    return function

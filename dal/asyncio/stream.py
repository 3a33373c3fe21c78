"""AsyncStream: the operators of a change stream, ending in a flow that is a task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from dal.asyncio.bulk import AsyncBulkWriter
from dal.asyncio.flow import AsyncFlow
from dal.asyncio.waiting import TaskWaiting
from dal.bulk import BulkWriter
from dal.durations import Duration
from dal.errors import UsageError
from dal.streams.aggregates import AggregateFunction
from dal.streams.alerts import Alert, Rule
from dal.streams.fields import Field
from dal.streams.sinks import Invalidations, Setting, Sink
from dal.streams.sinks.calls import Calls
from dal.streams.sinks.table import TableSink
from dal.streams.steps import (
    alert_step,
    batching_of,
    enrich_step,
    filter_step,
    flat_map_step,
    map_step,
    window_step,
)
from dal.streams.stream import Description, sink_of

__all__ = ["AsyncStream"]

T = TypeVar("T")
U = TypeVar("U")


class AsyncStream(Generic[T]):
    """A stream of items on their way; see `Stream`. Functions of `enrich`, `late` and of sinks may be coroutine functions.

    Args:
        description: What it is so far.
    """

    def __init__(self, description: Description) -> None:
        self._description = description

    def filter(self, wanted: Callable[[T], object]) -> AsyncStream[T]:
        """Keep the items a function is true for."""
        return AsyncStream(self._description.then(filter_step(wanted)))

    def map(self, function: Callable[[T], U]) -> AsyncStream[U]:
        """Put what a function returns in the place of each item."""
        return AsyncStream(self._description.then(map_step(function)))

    def flat_map(self, function: Callable[[T], Iterable[U]]) -> AsyncStream[U]:
        """Put everything a function returns, or nothing, in the place of each item."""
        return AsyncStream(self._description.then(flat_map_step(function)))

    def enrich(
        self,
        look_up: type[Any] | Callable[[Sequence[Any]], Any],
        *,
        by: Field,
        into: Callable[[T, Any], U] | None = None,
        size: int = 1_000,
    ) -> AsyncStream[U]:
        """Look something up for each item, many keys at a time; see `Stream.enrich`."""
        return AsyncStream(self._description.then(enrich_step(look_up, by, into, size, self._description.opening.sessions)))

    def window(
        self,
        *,
        seconds: Duration | None = None,
        every: Duration | None = None,
        gap: Duration | None = None,
        by: Field = None,
        aggregate: Mapping[str, AggregateFunction],
        at: Field = None,
        lateness: Duration = 1.0,
        idle: Duration | None = None,
        late: Callable[[T, datetime], object] | None = None,
    ) -> AsyncStream[dict[str, Any]]:
        """Group items by time, and compute over each group; see `Stream.window`."""
        step = window_step(
            size=seconds, every=every, gap=gap, by=by, aggregate=aggregate, at=at, lateness=lateness, idle=idle, late=late
        )
        return AsyncStream(self._description.then(step))

    def alert(self, rule: Rule) -> AsyncStream[Alert]:
        """Put in the place of items the alerts of a rule; see `Stream.alert`."""
        return AsyncStream(self._description.then(alert_step(rule)))

    def batch(self, *, size: int = 1_000, seconds: Duration = 1.0) -> AsyncStream[T]:
        """Write in batches rather than at once; see `Stream.batch`."""
        return AsyncStream(replace(self._description, batching=batching_of(size, seconds)))

    def to(self, sink: Any, *, key: Sequence[Any] | None = None) -> AsyncFlow:
        """Run it into a sink, from now on, in a task of its own; see `Stream.to`.

        Args:
            sink: An `AsyncBulkWriter(db, Entity)`, a function or coroutine function, or a sink, whose methods run in a thread.
            key: With an AsyncBulkWriter: the attributes that identify a row.

        Returns:
            The flow; `await flow.ready()` waits until it reads.

        Raises:
            UsageError: The sink is none, its table has other columns than what the last step gives, or no event loop runs.
        """
        waiting = TaskWaiting()
        opening = self._description.opening
        flow = AsyncFlow(self._description.loop(_sink(sink, key, waiting), waiting), waiting, opening.name)
        opening.register(flow)
        return flow


class _Aside:
    """A sink whose methods block, run in a thread each time."""

    def __init__(self, sink: Sink, waiting: TaskWaiting) -> None:
        self._sink, self._waiting = sink, waiting

    def open(self, setting: Setting) -> None:
        self._waiting.aside(lambda: self._sink.open(setting))

    def write(self, items: Sequence[Any]) -> None:
        self._waiting.aside(lambda: self._sink.write(items))

    def commit(self) -> None:
        self._waiting.aside(self._sink.commit)

    def close(self) -> None:
        self._waiting.aside(self._sink.close)


def _sink(sink: Any, key: Sequence[Any] | None, waiting: TaskWaiting) -> Sink:
    if isinstance(sink, BulkWriter):
        raise UsageError("a BulkWriter would block the event loop", hint=f"AsyncBulkWriter(db, {sink.target.name})")
    if isinstance(sink, AsyncBulkWriter):
        return TableSink(sink.sync_writer, key)
    found = sink_of(sink, key)
    return found if isinstance(found, (Calls, Invalidations)) else _Aside(found, waiting)

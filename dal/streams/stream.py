"""Stream: changes on their way, described step by step; nothing runs before `.to(...)`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from dal.durations import Duration
from dal.errors import UsageError
from dal.streams.aggregates import AggregateFunction
from dal.streams.alerts import Alert, Rule
from dal.streams.fields import Field
from dal.streams.flow import Flow
from dal.streams.loop import Batching, Loop
from dal.streams.sinks.base import Sink
from dal.streams.sinks.calls import Calls
from dal.streams.sinks.table import TableSink
from dal.streams.source import Source
from dal.streams.steps import (
    Gives,
    Step,
    alert_step,
    batching_of,
    enrich_step,
    filter_step,
    flat_map_step,
    map_step,
    window_step,
)
from dal.streams.waiting import ThreadWaiting, Waiting

__all__ = ["Description", "Opening", "Stream", "sink_of"]

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Opening:
    """How a stream is opened.

    Attributes:
        name: Its name.
        engine: The engine of its database.
        sessions: Makes sessions of its database, for look-ups.
        source: Makes the source, given how it waits.
        register: Notes what has to be closed with the database.
        retry_delay: The first pause after a fault, in seconds.
        tell: Called with a fact for each new try.
        gives: What a change has, where all of them are of one kind.
    """

    name: str
    engine: Engine
    sessions: Callable[[], Session]
    source: Callable[[Waiting], Source]
    register: Callable[[Any], None]
    retry_delay: float
    tell: Callable[[object], None] | None
    gives: Gives | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """What a stream is, before it runs.

    Attributes:
        opening: How it is opened.
        steps: What is done on the way.
        batching: When it is written.
    """

    opening: Opening
    steps: tuple[Step, ...] = ()
    batching: Batching = field(default_factory=Batching)

    def then(self, step: Step) -> Description:
        """Add a step."""
        return replace(self, steps=(*self.steps, step))

    def loop(self, sink: Sink, waiting: Waiting) -> Loop:
        """Make what runs it.

        Raises:
            UsageError: The sink's table cannot take what the last step gives.
        """
        opening = self.opening
        gives = opening.gives
        for step in self.steps:
            gives = gives if step.keeps else step.gives
        if gives is not None and isinstance(sink, TableSink):
            sink.check(gives.names, all_written=gives.all_written)
        return Loop(
            opening.source(waiting),
            [step(waiting.settle) for step in self.steps],
            sink,
            self.batching,
            waiting,
            opening.engine,
            retry_delay=opening.retry_delay,
            tell=opening.tell,
        )


class Stream(Generic[T]):
    """A stream of items: changes, or what the steps so far have made of them.

    Each method returns a new stream; functions are plain ones, and should not depend on anything but the item.

    Args:
        description: What it is so far.
    """

    def __init__(self, description: Description) -> None:
        self._description = description

    def filter(self, wanted: Callable[[T], object]) -> Stream[T]:
        """Keep the items a function is true for.

        Args:
            wanted: The function.
        """
        return Stream(self._description.then(filter_step(wanted)))

    def map(self, function: Callable[[T], U]) -> Stream[U]:
        """Put what a function returns in the place of each item.

        Args:
            function: The function.
        """
        return Stream(self._description.then(map_step(function)))

    def flat_map(self, function: Callable[[T], Iterable[U]]) -> Stream[U]:
        """Put everything a function returns, or nothing, in the place of each item.

        Args:
            function: The function.
        """
        return Stream(self._description.then(flat_map_step(function)))

    def enrich(
        self,
        look_up: type[Any] | Callable[[Sequence[Any]], Any],
        *,
        by: Field,
        into: Callable[[T, Any], U] | None = None,
        size: int = 1_000,
    ) -> Stream[U]:
        """Look something up for each item, many keys at a time.

        Args:
            look_up: A mapped class, found by primary key with one SELECT, detached; or a function that is given a list of keys
                and returns what it found, by key.
            by: Where an item has its key.
            into: Makes the new item of the item and what was found for it, or None; by default the pair of both.
            size: How many keys are looked up at a time at most.
        """
        return Stream(self._description.then(enrich_step(look_up, by, into, size, self._description.opening.sessions)))

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
    ) -> Stream[dict[str, Any]]:
        """Group items by time, and compute over each group; a result is told once, when its window is over.

        A result is a dict with `window_start`, `window_end`, the parts of the key and the aggregates, by name. What is open is
        kept in the table dal_stream_positions, so that a restart changes nothing.

        Args:
            seconds: How long a window lasts: tumbling windows, aligned to 1970 in UTC.
            every: How often one begins, where they overlap: sliding windows.
            gap: Instead of `seconds`: how long nothing comes between two sessions.
            by: What tells groups apart: a field, a list, or fields by their name in the result.
            aggregate: What is computed, by name: `{"revenue": sum_of(Sale.total)}`.
            at: Where an item has its time; by default that of its commit.
            lateness: How much later than others an item may come. A result is told that much later.
            idle: Where `at` is given: after how long without items the clock closes windows; by default only items do.
            late: Is given the items that came later, and their times; by default they are counted in `stats()` and left out.

        Raises:
            UsageError: The arguments contradict each other.
        """
        step = window_step(
            size=seconds, every=every, gap=gap, by=by, aggregate=aggregate, at=at, lateness=lateness, idle=idle, late=late
        )
        return Stream(self._description.then(step))

    def alert(self, rule: Rule) -> Stream[Alert]:
        """Put in the place of items the alerts of a rule: raised, and cleared.

        Args:
            rule: `Threshold(...)`, `Anomaly(...)` or one of your own.
        """
        return Stream(self._description.then(alert_step(rule)))

    def batch(self, *, size: int = 1_000, seconds: Duration = 1.0) -> Stream[T]:
        """Write in batches rather than at once: after so many items, or so long after the first of them.

        A transaction is never split over two commits, so that a sink may be given several batches before one.

        Args:
            size: How many items a sink is given at a time at most.
            seconds: How long an item waits at most.
        """
        return Stream(replace(self._description, batching=batching_of(size, seconds)))

    def to(self, sink: Any, *, key: Sequence[Any] | None = None) -> Flow:
        """Run it into a sink, from now on, in a thread of its own.

        When this returns, slot and publication are there: no change that is committed from now on is missed.

        Args:
            sink: A `BulkWriter(db, Entity)`, a function that is given a list of items, or a sink: `RedisStream`, `JsonLines`,
                `Webhook`, `Dashboard`, `Invalidations`, or any object with their methods.
            key: With a BulkWriter: the attributes that identify a row; the primary key by default.

        Returns:
            The flow, running; `flow.stop()` ends it, and so does the database's `close()`.

        Raises:
            ReplicationError: The server or a table cannot give the stream.
            UsageError: The sink is none, or its table has other columns than what the last step gives.
        """
        waiting = ThreadWaiting()
        opening = self._description.opening
        flow = Flow(self._description.loop(sink_of(sink, key), waiting), waiting, opening.name).begin()
        opening.register(flow)
        return flow


def sink_of(sink: Any, key: Sequence[Any] | None) -> Sink:
    """Return the sink that is meant.

    Args:
        sink: A BulkWriter, a function or a sink.
        key: For a BulkWriter.

    Raises:
        UsageError: It is none of them.
    """
    from dal.bulk import BulkWriter

    if isinstance(sink, BulkWriter):
        return TableSink(sink, key)
    if key is not None:
        raise UsageError("key= is for a BulkWriter", hint=".to(BulkWriter(db, Revenue), key=[Revenue.shop])")
    if all(callable(getattr(sink, name, None)) for name in ("open", "write", "commit", "close")):
        found: Sink = sink
        return found
    if callable(sink) and not isinstance(sink, type):
        return Calls(sink)
    raise UsageError(f"{sink!r} is no sink", hint=".to(BulkWriter(db, Revenue)), .to(function) or .to(JsonLines(path))")

"""AsyncChanges: the async door to change streams; a flow is a task, and every wait an await."""

from __future__ import annotations

import asyncio
import inspect
import logging
import select
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from time import monotonic
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from dal.asyncio._bridge import run_sync, wait
from dal.asyncio.bulk import AsyncBulkWriter
from dal.bulk import BulkWriter
from dal.durations import Duration, seconds
from dal.errors import UsageError
from dal.streams.aggregates import AggregateFunction
from dal.streams.alerts import Alert, Rule
from dal.streams.change import Change
from dal.streams.changes import READ_AHEAD
from dal.streams.fields import Field
from dal.streams.loop import FlowStats, Loop
from dal.streams.sinks import Invalidations, Setting, Sink
from dal.streams.sinks.calls import Calls
from dal.streams.sinks.table import TableSink
from dal.streams.source import Source
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
from dal.streams.waiting import SLICE

__all__ = ["AsyncChanges", "AsyncFlow", "AsyncStream", "TaskWaiting"]

T = TypeVar("T")
U = TypeVar("U")

_log = logging.getLogger("dal.streams")
_LONG = 3600.0


class TaskWaiting:
    """Waits by suspending the task; see `dal.streams.waiting.Waiting`."""

    def __init__(self) -> None:
        self.stopped = False

    def ready(self, fd: int, seconds: float, *, write: bool = False, last: bool = False) -> bool:
        """Wait until a socket is readable, or also writable."""
        until = monotonic() + seconds
        while last or not self.stopped:
            left = until - monotonic()
            if _ready_now(fd, write):
                wait(asyncio.sleep(0))  # a stream that always has more must let other tasks run
                return True
            if left > 0 and wait(_ready(fd, min(left, SLICE), write)):
                return True
            if left <= SLICE:
                return False
        return False

    def rest(self, seconds: float) -> None:
        """Pause, or until stopped."""
        until = monotonic() + seconds
        while not self.stopped and (left := until - monotonic()) > 0:
            wait(asyncio.sleep(min(left, SLICE)))

    def settle(self, result: Any) -> Any:
        """Await what a caller's function returned, where it can be."""
        return wait(result) if inspect.isawaitable(result) else result

    def aside(self, function: Callable[[], T]) -> T:
        """Call something that blocks in another thread."""
        return wait(asyncio.to_thread(function))

    def stop(self) -> None:
        """End all waits."""
        self.stopped = True


class AsyncFlow:
    """A stream that runs into its sink in a task; see `Flow`.

    Args:
        loop: What it does.
        waiting: What it waits by.
        name: The stream's name.
    """

    def __init__(self, loop: Loop, waiting: TaskWaiting, name: str) -> None:
        self._loop, self._waiting, self.name = loop, waiting, name
        self._ready = asyncio.Event()
        self._error: BaseException | None = None
        self._task = asyncio.get_running_loop().create_task(self._work(), name=f"dal stream {name}")

    async def __aenter__(self) -> Self:
        await self.ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def __repr__(self) -> str:
        return f"<AsyncFlow {self.name} {self.stats().state}>"

    async def ready(self) -> None:
        """Wait until slot and publication are there: no change that is committed from then on is missed.

        Raises:
            DalError: The server, a table or the sink cannot do it.
        """
        await self._ready.wait()
        if self._error is not None:
            raise self._error

    async def run(self) -> None:
        """Wait until it ends; cancelled, it stops first. See `Flow.run`."""
        try:
            await self.wait()
        except asyncio.CancelledError:
            await self.stop()
            raise

    async def wait(self, timeout: Duration | None = None) -> bool:  # noqa: ASYNC109
        """Wait until it ends; see `Flow.wait`."""
        left = None if timeout is None else seconds(timeout, name="timeout")
        done, _ = await asyncio.wait([self._task], timeout=left)
        if self._error is not None:
            raise self._error
        return bool(done)

    async def stop(self, timeout: Duration = 30.0) -> bool:  # noqa: ASYNC109
        """Tell it to stop, after the transaction it is in, and wait for that; see `Flow.stop`."""
        self._waiting.stop()
        done, _ = await asyncio.wait([self._task], timeout=seconds(timeout, name="timeout"))
        return bool(done)

    async def close(self) -> None:
        """Stop it; what a closing database does."""
        await self.stop()

    def stats(self) -> FlowStats:
        """Tell how it is doing."""
        return self._loop.stats()

    async def _work(self) -> None:
        try:
            await run_sync(self._prepare)
            self._ready.set()
            await run_sync(self._loop.run)
        except Exception as error:
            self._error = error
            _log.exception("the stream %r has ended", self.name)
        finally:
            self._ready.set()

    def _prepare(self) -> None:
        try:
            self._loop.prepare()
        except BaseException:
            self._loop.close()
            raise


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
            UsageError: The sink is none, or no event loop runs.
        """
        waiting = TaskWaiting()
        opening = self._description.opening
        flow = AsyncFlow(self._description.loop(_sink(sink, key, waiting), waiting), waiting, opening.name)
        opening.register(flow)
        return flow


class AsyncReading:
    """One loop over a stream, which another task may end.

    Args:
        source: What is read.
        waiting: How it waits.
    """

    def __init__(self, source: Source, waiting: TaskWaiting) -> None:
        self._source, self._waiting = source, waiting
        self._busy = asyncio.Lock()

    async def start(self) -> None:
        """Connect."""
        async with self._busy:
            await run_sync(self._source.start, None)

    async def more(self) -> list[Change]:
        """Return the next changes; none when it is over."""
        async with self._busy:
            found: list[Change] = []
            while not found and not self._waiting.stopped:
                found = await run_sync(self._source.read, READ_AHEAD, _LONG)
            return found

    async def close(self) -> None:
        """End the loop."""
        self._waiting.stop()
        async with self._busy:
            await run_sync(self._source.close)


class AsyncChanges(AsyncStream[Change]):
    """The changes of some classes; see `Changes`. Loop with `async for`, acknowledge with `change.ack()`."""

    async def __aiter__(self) -> AsyncIterator[Change]:
        opening = self._description.opening
        waiting = TaskWaiting()
        reading = AsyncReading(opening.source(waiting), waiting)
        opening.register(reading)
        try:
            await reading.start()
            while found := await reading.more():
                for change in found:
                    yield change
        finally:
            await reading.close()

    async def create(self) -> None:
        """Make publication and slot now; see `Changes.create`."""
        source = self._description.opening.source(TaskWaiting())
        try:
            await run_sync(source.prepare)
        finally:
            await run_sync(source.close)

    async def drop(self) -> None:
        """Drop slot, publication and position; see `Changes.drop`."""
        await run_sync(self._description.opening.source(TaskWaiting()).drop)


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


def _ready_now(fd: int, write: bool) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN | (select.POLLOUT if write else 0))
    return bool(poll.poll(0))


async def _ready(fd: int, seconds: float, write: bool) -> bool:
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, event.set)
    if write:
        loop.add_writer(fd, event.set)
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(fd)
        if write:
            loop.remove_writer(fd)
    return True

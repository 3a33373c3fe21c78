"""AsyncChanges: the async door to change streams; a loop over changes, or a flow in a task, and every wait an await."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from dal.asyncio._bridge import run_sync
from dal.asyncio.stream import AsyncStream
from dal.asyncio.waiting import TaskWaiting
from dal.errors import ReplicationError
from dal.streams.change import Change
from dal.streams.changes import READ_AHEAD
from dal.streams.source import Source

__all__ = ["AsyncChanges"]

_LONG = 3600.0


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
            try:
                await reading.start()
            except ReplicationError:
                # Told to stop while the slot was being made, for which the server waits.
                if waiting.stopped:
                    return
                raise
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

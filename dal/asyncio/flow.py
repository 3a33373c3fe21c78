"""AsyncFlow: a stream on its way into a sink, in a task of its own."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Self

from dal.asyncio._bridge import run_sync
from dal.asyncio.waiting import TaskWaiting
from dal.durations import Duration, seconds
from dal.streams.loop import FlowStats, Loop

__all__ = ["AsyncFlow"]

_log = logging.getLogger("dal.streams")


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

"""AsyncPipeline: the async door to `Pipeline`; its workers are tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from dal.asyncio._bridge import run_sync
from dal.pipeline.builder import Builder, OnError
from dal.pipeline.progress import INTERVAL, shown
from dal.pipeline.report import PipelineReport, RejectedItem
from dal.pipeline.runtime import Tasks
from dal.pipeline.signals import task_terminable

__all__ = ["AsyncPipeline"]


class AsyncPipeline(Builder):
    """A source and stages that run in tasks; see `Pipeline`.

    Coroutine functions are awaited, plain ones run in threads beside the loop, and in processes where a stage says so.

    Args:
        source: Where items come from: an iterable or an async one.
        queue: Items in front of a stage, at most.

    Example:
        >>> import asyncio
        >>> async def double(item):
        ...     return item * 2
        >>> stored = []
        >>> report = asyncio.run(AsyncPipeline([1, 2]).transform(double).store(stored).run())
        >>> stored
        [2, 4]
    """

    _awaits: ClassVar[bool] = True

    async def run(
        self,
        *,
        progress: bool | Callable[[PipelineReport], object] = False,
        on_error: OnError = "reject",
        rejects: Callable[[RejectedItem], object] | None = None,
        max_rejected: int | None = None,
    ) -> PipelineReport:
        """Run it until the source is over and everything is stored; see `Pipeline.run`."""
        run = self._prepared(Tasks, on_error, rejects, max_rejected)
        with task_terminable(), shown(progress) as show:
            return await run_sync(run.run, INTERVAL, show)

"""Parallel scans of an AsyncDatabase: the same scan, its workers are tasks, and its results are awaited."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

from dal.asyncio._bridge import run_sync
from dal.parallel.parallel import Parallel
from dal.parallel.results import UNSET, ParallelResults
from dal.parallel.scan import Task

__all__ = ["AsyncParallel", "AsyncParallelResults"]

T = TypeVar("T")
R = TypeVar("R")

_END: Any = object()


class AsyncParallelResults(Generic[R]):
    """Results, made when they are awaited; see `ParallelResults`.

    Args:
        results: The same results behind the sync door.
    """

    def __init__(self, results: ParallelResults[R]) -> None:
        self._results = results

    async def __aiter__(self) -> AsyncIterator[R]:
        found = iter(self._results)
        try:
            while (result := await run_sync(next, found, _END)) is not _END:
                yield result
        finally:
            close: Any = getattr(found, "close", None)
            await run_sync(close)

    async def list(self) -> builtins.list[R]:
        """Return all results."""
        return await run_sync(self._results.list)

    async def reduce(self, merge: Callable[[Any, R], Any], initial: Any = UNSET) -> Any:
        """Fold the results into one, as they come; see `ParallelResults.reduce`."""
        return await run_sync(self._results.reduce, merge, initial)

    async def write(self, target: Any) -> int:
        """Write the results as they come; see `ParallelResults.write`."""
        return await run_sync(self._results.write, target)


class AsyncParallel(Generic[T]):
    """What is read in parallel; see `Parallel`. A plain function runs in a thread, a coroutine function is awaited.

    Args:
        task: What is to be done.
    """

    def __init__(self, task: Task) -> None:
        self._parallel: Parallel[T] = Parallel(task)

    def map(self, work: Callable[[list[T]], Any]) -> AsyncParallelResults[Any]:
        """Call a function once a part, with the part's rows; see `Parallel.map`."""
        return AsyncParallelResults(self._parallel.map(work))

    def map_rows(self, work: Callable[[T], Any]) -> AsyncParallelResults[Any]:
        """Call a function for each row; see `Parallel.map_rows`."""
        return AsyncParallelResults(self._parallel.map_rows(work))

    def __aiter__(self) -> AsyncIterator[T]:
        return aiter(AsyncParallelResults(self._parallel.rows()))

    async def write(self, target: Any) -> int:
        """Write the rows; see `ParallelResults.write`."""
        return await run_sync(self._parallel.write, target)

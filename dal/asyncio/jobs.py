"""AsyncJobs and AsyncJob: the async door to the queue of background jobs."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Literal, ParamSpec, TypeVar, overload

from sqlalchemy.ext.asyncio import AsyncSession

from dal.asyncio._bridge import run_sync
from dal.bulk import BulkResult
from dal.bulk.files import Columns, CsvDialect, Format, Validate
from dal.durations import Duration, seconds
from dal.errors import UsageError
from dal.jobs import Job, Jobs, Progress
from dal.jobs.progress import OVER, State

__all__ = ["AsyncJob", "AsyncJobs"]

P = ParamSpec("P")
T = TypeVar("T")
Awaited = Coroutine[Any, Any, T]


class AsyncJob(Generic[T]):
    """One job of a queue; see `dal.jobs.Job`.

    Args:
        job: The job it is the door to.

    Attributes:
        id: What finds it again from anywhere.
    """

    def __init__(self, job: Job[T]) -> None:
        self._job, self.id = job, job.id

    def __repr__(self) -> str:
        return repr(self._job)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncJob) and other._job == self._job

    def __hash__(self) -> int:
        return hash(self._job)

    async def progress(self) -> Progress:
        """Read how far it is; see `Job.progress`."""
        return await run_sync(self._job.progress)

    async def wait(self, timeout: Duration | None = None) -> T:  # noqa: ASYNC109  the timeout explains itself when it ends
        """Wait until it is over; see `Job.wait`."""
        patience = None if timeout is None else seconds(timeout, name="timeout")
        future = self._job.over()
        try:
            if (await self.progress()).state not in OVER:
                await asyncio.wait_for(asyncio.wrap_future(future), patience)
        except TimeoutError:
            raise await run_sync(self._job.not_over, patience) from None
        finally:
            self._job.forget(future)
        return await run_sync(self._job.result)

    async def on_done(self, callback: Callable[[AsyncJob[T]], object]) -> None:
        """Have a function called in this event loop when the job is over; see `Job.on_done`."""
        if not callable(callback):
            raise UsageError(f"on_done is given {callback!r}, which cannot be called", hint="write await job.on_done(notify)")
        loop = asyncio.get_running_loop()
        await run_sync(self._job.on_done, lambda _: loop.call_soon_threadsafe(callback, self))

    async def cancel(self) -> bool:
        """Call it off; see `Job.cancel`."""
        return await run_sync(self._job.cancel)

    async def retry(self) -> bool:
        """Put a failed job back into the queue; see `Job.retry`."""
        return await run_sync(self._job.retry)


class AsyncJobs:
    """The queue of a database; see `dal.jobs.Jobs`.

    Args:
        jobs: The queue it is the door to.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def prepare(self) -> None:
        """Make the queue's tables where they are missing; see `Jobs.prepare`."""
        await run_sync(self._jobs.prepare)

    @overload
    async def submit(self, function: Callable[P, Awaited[T]], /, *args: P.args, **kwargs: P.kwargs) -> AsyncJob[T]: ...
    @overload
    async def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> AsyncJob[T]: ...
    async def submit(self, function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> AsyncJob[Any]:
        """Have a worker call a function or coroutine function; see `Jobs.submit`."""
        job: Job[Any] = await run_sync(self._jobs.submit, function, *args, **kwargs)
        return AsyncJob(job)

    async def import_file(
        self,
        path: str | Path,
        *,
        into: type[Any],
        key: Sequence[Any] | None = None,
        format: Format | None = None,  # noqa: A002
        columns: Columns | None = None,
        header: bool | None = None,
        dialect: CsvDialect | None = None,
        validate: Validate | None = None,
        on_error: Literal["raise", "reject"] = "reject",
        max_rejected: int | None = None,
    ) -> AsyncJob[BulkResult]:
        """Have a worker load a file; see `Jobs.import_file`."""
        job = await run_sync(
            self._jobs.import_file,
            path,
            into=into,
            key=key,
            format=format,
            columns=columns,
            header=header,
            dialect=dialect,
            validate=validate,
            on_error=on_error,
            max_rejected=max_rejected,
        )
        return AsyncJob(job)

    def using(
        self,
        *,
        queue: str | None = None,
        priority: int | None = None,
        at: datetime | None = None,
        lock: str | None = None,
        retries: int | None = None,
        retry_delay: Duration | None = None,
        session: AsyncSession | None = None,
    ) -> AsyncJobs:
        """Say how the jobs are put into the queue that the returned object submits; see `Jobs.using`."""
        jobs = self._jobs.using(
            queue=queue,
            priority=priority,
            at=at,
            lock=lock,
            retries=retries,
            retry_delay=retry_delay,
            session=None if session is None else session.sync_session,
        )
        return AsyncJobs(jobs)

    async def get(self, job: int) -> AsyncJob[Any]:
        """Find a job by its id; see `Jobs.get`."""
        return AsyncJob(await run_sync(self._jobs.get, job))

    async def list(self, *states: State, limit: int = 100) -> builtins.list[AsyncJob[Any]]:
        """List jobs in one of some states, the newest first; see `Jobs.list`."""
        return [AsyncJob(job) for job in await run_sync(lambda: self._jobs.list(*states, limit=limit))]

    async def close(self) -> None:
        """Stop waiting for jobs; see `Jobs.close`."""
        await asyncio.to_thread(self._jobs.close)

"""`db.jobs`: put work into the queue and find it again."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Coroutine, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, ParamSpec, Self, TypeVar, overload

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from dal.bulk import BulkResult
from dal.bulk.files import Columns, CsvDialect, Format, Validate
from dal.bulk.rejecting import checked_on_error
from dal.durations import Duration, seconds
from dal.errors import UsageError
from dal.jobs import store
from dal.jobs.calls import reference, refuse_unless_json
from dal.jobs.imports import import_call
from dal.jobs.job import Job
from dal.jobs.listener import Listener
from dal.jobs.progress import STATES, State
from dal.jobs.schema import prepare

__all__ = ["JobOptions", "Jobs"]

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """When and where a job runs, and how often it is tried; see `Jobs.using`."""

    queue: str = "default"
    priority: int = 0
    at: datetime | None = None
    lock: str | None = None
    retries: int = 3
    retry_delay: float = 1.0
    session: Session | None = None


class Jobs:
    """The queue of a database.

    Args:
        engine: The database.
        url: Its URL, for the connection that waits.
        run: Runs a function in a transaction, and again after a transient fault, as `Database.run`.
        options: How jobs are put into the queue.

    Example:
        `job = db.jobs.submit(send_welcome, user.id)`
    """

    def __init__(
        self, engine: Engine, url: URL, run: Callable[[Callable[[Session], Any]], Any], options: JobOptions | None = None
    ) -> None:
        self._engine, self.url, self._run = engine, url, run
        self.options = options or JobOptions()
        self._prepared = False
        self.listener = Listener(url)

    def prepare(self) -> None:
        """Make the queue's tables where they are missing; the first use does it too.

        Raises:
            UsageError: The role may not.
        """
        if not self._prepared:
            prepare(self._engine)
            self._prepared = True

    @overload
    def submit(self, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> Job[T]: ...
    @overload
    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Job[T]: ...
    def submit(self, function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Job[Any]:
        """Have a worker call a function; returns at once, and the job is durable from then on.

        A job is run at least once: a worker that dies takes its run with it, and another begins anew. Let the function be one
        that may be run twice, and commit its own work.

        Args:
            function: A function, or coroutine function, at the top level of a module.
            args: Its arguments: JSON.
            kwargs: Its keyword arguments: JSON.

        Returns:
            The job.

        Raises:
            UsageError: A worker could not find the function, or an argument is not JSON.
        """
        refuse_unless_json(function, args, kwargs)
        call = {"kind": "function", "name": reference(function, "the function of a job"), "args": list(args), "kwargs": kwargs}
        return self._defer(call)

    def import_file(
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
    ) -> Job[BulkResult]:
        """Have a worker load a file; returns at once, and the job is durable from then on.

        Each part of the file is one transaction together with the note of how far it is: a worker that is killed at any moment
        loses nothing and doubles nothing, and the next one goes on where it was.

        Args:
            path: A `.csv`, `.jsonl`, `.parquet` or Arrow file, also packed as `.gz` or `.zst`; every worker must see it under
                this path.
            into: The mapped class.
            key: The attributes of a unique key, for an upsert; without it rows are inserted.
            format: As for `BulkWriter.load`, as are the next three.
            columns: The attribute of each field, in order or by its name in the file.
            header: Whether the first line of a CSV file names the fields.
            dialect: How a CSV file is written.
            validate: A model of pydantic or msgspec, or a function, at the top level of a module; see `BulkWriter.load`.
            on_error: `"reject"` keeps bad rows aside with line, value and reason; `"raise"` ends the job at the first.
            max_rejected: With `"reject"`: how many rows may be refused before the job fails.

        Returns:
            The job; `wait()` returns its BulkResult.

        Raises:
            FileError: There is no such file.
            UsageError: A worker could not find the class or the validation.

        Example:
            `job = db.jobs.import_file("flights.csv.gz", into=Flight, key=[Flight.id])`
        """
        return self._defer(
            import_call(
                path,
                into=into,
                key=key,
                format=format,
                columns=columns,
                header=header,
                dialect=dialect,
                validate=validate,
                rejecting=checked_on_error(on_error),
                max_rejected=max_rejected,
            )
        )

    def using(
        self,
        *,
        queue: str | None = None,
        priority: int | None = None,
        at: datetime | None = None,
        lock: str | None = None,
        retries: int | None = None,
        retry_delay: Duration | None = None,
        session: Session | None = None,
    ) -> Self:
        """Say how the jobs are put into the queue that the returned object submits.

        Args:
            queue: Which workers run them: those that were started for this queue or for all.
            priority: Jobs of a higher one go first.
            at: Not before this moment, with a time zone.
            lock: Jobs with the same lock run one after the other.
            retries: How often a failed job is run again. Faults of the connection and the death of a worker do not count.
            retry_delay: The pause before the first of these, doubled and jittered from then on.
            session: Put them there in this session's transaction: they are there if and when it commits. Inside a unit of work
                (`db.run`, `@db.transactional`) that is so without being said.

        Returns:
            The same queue with these options; what is not named stays.

        Raises:
            UsageError: A moment without a time zone, or a negative number of retries.
        """
        if at is not None and at.tzinfo is None:
            raise UsageError(f"at={at!r} has no time zone", hint="write datetime(..., tzinfo=timezone.utc)")
        if retries is not None and retries < 0:
            raise UsageError(f"retries={retries} is negative", hint="0 for none")
        given: dict[str, Any] = {
            "queue": queue,
            "priority": priority,
            "at": at,
            "lock": lock,
            "retries": retries,
            "retry_delay": None if retry_delay is None else seconds(retry_delay, name="retry_delay"),
            "session": session,
        }
        other = copy(self)
        other.options = replace(self.options, **{name: value for name, value in given.items() if value is not None})
        return other

    def get(self, job: int) -> Job[Any]:
        """Find a job by its id.

        Raises:
            UsageError: There is none.
        """
        if isinstance(job, bool) or not isinstance(job, int):
            raise UsageError(f"{job!r} is no id of a job", hint="db.jobs.get(job.id)")
        found: Job[Any] = self._job(job)
        found.outcome()
        return found

    def list(self, *states: State, limit: int = 100) -> builtins.list[Job[Any]]:
        """List jobs in one of some states, the newest first: `db.jobs.list("failed")` are those that were given up.

        Args:
            states: Of `Progress.state`; all of them by default.
            limit: How many at most.

        Raises:
            UsageError: There is no such state.
        """
        unknown = [state for state in states if state not in STATES.values()]
        if unknown:
            known = ", ".join(dict.fromkeys(STATES.values()))
            raise UsageError(f"{unknown[0]!r} is no state of a job", hint=f"one of {known}")
        self.prepare()
        found = self.within(lambda connection: store.select(connection, states or tuple(STATES.values()), limit))
        return [self._job(job) for job in found]

    def within(self, work: Callable[[Connection], T]) -> T:
        """Run something in a transaction of the database's own, or of the unit of work that is being run."""
        found: T = self._run(lambda session: work(session.connection()))
        return found

    def close(self) -> None:
        """Stop waiting for jobs; those in the queue stay there."""
        self.listener.close()

    def _defer(self, call: Mapping[str, Any]) -> Job[Any]:
        self.prepare()
        options = self.options
        full = {**call, "retries": options.retries, "retry_delay": options.retry_delay}
        if options.session is not None:
            return self._job(self._put(options.session.connection(), full))
        return self._job(self.within(lambda connection: self._put(connection, full)))

    def _put(self, connection: Connection, call: Mapping[str, Any]) -> int:
        options = self.options
        return store.defer(connection, call, queue=options.queue, priority=options.priority, at=options.at, lock=options.lock)

    def _job(self, job: int) -> Job[Any]:
        self.prepare()
        return Job(self, job)

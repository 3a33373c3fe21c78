"""The job that is running, for the function that it runs: how far it is, and whether it shall end."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from time import monotonic
from typing import Any

from sqlalchemy import Engine

from dal.errors import UsageError
from dal.jobs import store

__all__ = ["Cancelled", "RunningJob", "Stopped", "current_job", "running"]

_EVERY = 0.5

running: ContextVar[RunningJob | None] = ContextVar("dal_job", default=None)


class Cancelled(BaseException):
    """Ends a job that was called off; not an Exception, so that a function's own `except Exception` lets it through."""


class Stopped(BaseException):
    """Ends a run whose worker stops; the job goes back into the queue."""


class RunningJob:
    """A job, seen from inside.

    Args:
        job: Its id.
        db: The worker's database.
        engine: The database's engine.
        cancelled: Tells whether the job was called off.
        stopping: Tells whether the worker stops.

    Attributes:
        id: The job's id.
        db: The worker's `Database`, to open sessions with.
        done: Items done, over all runs.
        total: Items in all, or None.
        rejected: Items refused.
    """

    def __init__(
        self, job: int, db: Any, engine: Engine, *, cancelled: Callable[[], bool], stopping: Callable[[], bool]
    ) -> None:
        self.id, self.db = job, db
        self.engine, self._cancelled, self._stopping = engine, cancelled, stopping
        with engine.begin() as connection:
            self.done, self.total, self.rejected = store.begin(connection, job)
        self._noted = monotonic()

    @property
    def should_stop(self) -> bool:
        """Whether the job was called off, or its worker stops."""
        return self._cancelled() or self._stopping()

    def check(self) -> None:
        """End here if the job was called off or its worker stops: raise what takes the worker back from the function.

        A job whose worker stops goes back into the queue and begins anew elsewhere. Call it where nothing is half done.
        """
        if self._cancelled():
            raise Cancelled
        if self._stopping():
            raise Stopped

    def advance(self, items: int = 1, *, total: int | None = None, rejected: int = 0) -> None:
        """Count items that are done; written to the database twice a second at most.

        Args:
            items: How many more are done.
            total: How many there are in all, where that is known now.
            rejected: How many of them were refused.
        """
        self.set(self.done + items, total=self.total if total is None else total, rejected=self.rejected + rejected)

    def set(self, done: int, *, total: int | None, rejected: int) -> None:
        """Say how many items are done in all; written to the database twice a second at most."""
        self.done, self.total, self.rejected = done, total, rejected
        if monotonic() - self._noted >= _EVERY:
            self.note()

    def note(self) -> None:
        """Write how far the job is now."""
        self._noted = monotonic()
        with self.engine.begin() as connection:
            store.note(connection, self.id, done=self.done, total=self.total, rejected=self.rejected)


def current_job() -> RunningJob:
    """Return the job that runs the calling function.

    Raises:
        UsageError: It was not called by a worker.

    Example:
        `current_job().advance(total=len(orders))`
    """
    found = running.get()
    if found is None:
        raise UsageError(
            "no job runs this function", hint="current_job() is for functions given to db.jobs.submit(); pass what they need"
        )
    return found

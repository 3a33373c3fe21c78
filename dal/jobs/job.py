"""Job: the handle of one job, in whatever process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dal.durations import Duration, seconds
from dal.errors import DeadlineExceeded, JobCancelled, JobFailed, UsageError
from dal.jobs import store
from dal.jobs.progress import OVER, Progress
from dal.jobs.rejects import rejects_of
from dal.jobs.results import result_of

if TYPE_CHECKING:
    from dal.jobs.jobs import Jobs

__all__ = ["Job"]

_log = logging.getLogger("dal.jobs")

T = TypeVar("T")


class Job(Generic[T]):
    """One job of a queue; made by `db.jobs.submit()`, `db.jobs.import_file()` and `db.jobs.get()`.

    Args:
        jobs: The queue's face it came from.
        job: Its id.

    Attributes:
        id: What finds it again from anywhere: `db.jobs.get(id)`.
    """

    def __init__(self, jobs: Jobs, job: int) -> None:
        self._jobs, self.id = jobs, job

    def __repr__(self) -> str:
        return f"<Job {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and (other._jobs.url, other.id) == (self._jobs.url, self.id)

    def __hash__(self) -> int:
        return hash((self._jobs.url, self.id))

    def progress(self) -> Progress:
        """Read how far it is.

        Raises:
            UsageError: There is no such job: it was deleted, or the transaction that put it there was rolled back.
        """
        return self.outcome().progress

    def wait(self, timeout: Duration | None = None) -> T:
        """Wait until it is over.

        Args:
            timeout: How long; for ever by default.

        Returns:
            What the function returned, or the `BulkResult` of an import.

        Raises:
            JobFailed: It failed for good; the message has the reason, `traceback` the place.
            JobCancelled: It was called off.
            DeadlineExceeded: It was not over in time; it goes on.
        """
        patience = None if timeout is None else seconds(timeout, name="timeout")
        future = self.over()
        try:
            if self.outcome().progress.state not in OVER:
                future.result(patience)
        except TimeoutError:
            raise self.not_over(patience) from None
        finally:
            self.forget(future)
        return self.result()

    def result(self) -> T:
        """Return what a job that is over came to; see `wait`."""
        outcome = self.outcome()
        if outcome.progress.state == "cancelled":
            raise JobCancelled(f"job {self.id} was called off", hint="submit it again if it shall run after all")
        if outcome.error is not None or outcome.progress.state == "failed":
            found = outcome.error or {"type": "Error", "message": "its worker ended it", "hint": "", "traceback": ""}
            raise JobFailed(
                f"job {self.id} failed after {outcome.progress.attempts} runs: {found['type']}: {found['message']}",
                hint=found["hint"] or "when the cause is mended: db.jobs.get(id).retry()",
                traceback=found["traceback"],
            )
        if outcome.progress.state != "done":
            raise UsageError(f"job {self.id} is {outcome.progress.state}", hint="job.wait() waits until it is over")
        value: Any = outcome.result
        if outcome.call.get("kind") == "import":
            value = result_of(value or {}, self._jobs.within(lambda connection: rejects_of(connection, self.id)))
        return value  # type: ignore[no-any-return]

    def on_done(self, callback: Callable[[Job[T]], object]) -> None:
        """Have a function called when the job is over, however it ended: in a thread, while this process has the database open.

        Args:
            callback: Called once with the job; at once if it is over already.

        Raises:
            UsageError: It cannot be called.
        """
        if not callable(callback):
            raise UsageError(f"on_done is given {callback!r}, which cannot be called", hint="write job.on_done(notify)")
        future = self.over()
        future.add_done_callback(lambda done: self._tell(callback, done))
        if self.outcome().progress.state in OVER:
            self.forget(future)
            if not future.done():
                future.set_result(None)

    def cancel(self) -> bool:
        """Call it off: one that waits is never run, one that runs ends at its next `current_job().check()`.

        Returns:
            False where it was over already.
        """
        return self._jobs.within(lambda connection: store.cancel(connection, self.id))

    def retry(self) -> bool:
        """Put a job that has failed for good back into the queue; an import goes on where it was.

        Returns:
            False where it has not failed.
        """
        return self._jobs.within(lambda connection: store.retry(connection, self.id))

    def outcome(self) -> store.Outcome:
        """Read it; see `progress`."""
        found = self._jobs.within(lambda connection: store.look(connection, self.id))
        if found is None:
            raise UsageError(
                f"there is no job {self.id}", hint="it was deleted, or the transaction that submitted it has not committed"
            )
        return found

    def over(self) -> Future[None]:
        """Return a future that is done when the job is over; look at the job after this call, it may be over already."""
        return self._jobs.listener.watch(self.id)

    def forget(self, future: Future[None]) -> None:
        """Stop waiting with a future of `over`."""
        self._jobs.listener.forget(self.id, future)

    def not_over(self, patience: float | None) -> DeadlineExceeded:
        """Make the error of a wait that took too long."""
        now = self.progress()
        running = now.state != "waiting"
        return DeadlineExceeded(
            f"job {self.id} was not over after {patience:g} s: it is {now.state}, with {now.done} done",
            hint="give it more time, or job.cancel()" if running else "is a worker running? start one: dal worker",
        )

    def _tell(self, callback: Callable[[Job[T]], object], done: Future[Any]) -> None:
        if done.exception() is None:
            try:
                callback(self)
            except Exception:
                _log.exception("what was to be told of job %s failed", self.id)

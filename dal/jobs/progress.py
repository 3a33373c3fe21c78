"""How far a job is, as anybody who can read the database sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["OVER", "STATES", "Progress", "State"]

State = Literal["waiting", "running", "done", "failed", "cancelled"]

STATES: dict[str, State] = {
    "todo": "waiting",
    "doing": "running",
    "succeeded": "done",
    "failed": "failed",
    "cancelled": "cancelled",
    "aborting": "running",
    "aborted": "cancelled",
}
"""dal's word for each of procrastinate's."""

OVER = frozenset({"done", "failed", "cancelled"})
"""States that a job does not leave by itself."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is.

    Args:
        state: `waiting`, `running`, `done`, `failed` or `cancelled`. A job that will be tried again waits.
        done: Items done: rows of an import, or whatever a function counts with `current_job().advance()`.
        total: Items in all, or None where nobody knows; of an import an estimate until the end of the file is reached.
        rejected: Items among them that were refused.
        rate: Items a second since this run of the job began; 0.0 before.
        attempts: Runs that have ended, by success, failure or the death of a worker.
        error: Why the last run failed; "" where it did not.

    Example:
        >>> Progress("running", done=500, total=2000, rate=250.0).seconds_left
        6.0
    """

    state: State
    done: int = 0
    total: int | None = None
    rejected: int = 0
    rate: float = 0.0
    attempts: int = 0
    error: str = ""

    @property
    def seconds_left(self) -> float | None:
        """How long it will take at this rate, or None where nobody knows."""
        if self.total is None or not self.rate:
            return None
        return max(0, self.total - self.done) / self.rate

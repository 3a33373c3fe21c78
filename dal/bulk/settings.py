"""What a batch writer is told, and what it tells: settings, batches and counts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from dal._values import positive_duration, whole_number
from dal.bulk.buffer import Buffer, Reason
from dal.bulk.outcomes import Outcome
from dal.durations import Duration
from dal.errors import ConfigError, QueueFull

__all__ = ["Batch", "BatchSettings", "BatchStats", "Counts", "Full", "report"]

Full = Literal["block", "raise", "drop"]

_log = logging.getLogger("dal.bulk")


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """One batch that was written.

    Args:
        written: Items whose futures got a row.
        failed: Items whose futures got an error.
        cancelled: Items that were cancelled before.
        reason: Why it was due: size, interval, waiting, flush or close.
        seconds: What it took.
    """

    written: int
    failed: int
    cancelled: int
    reason: Reason
    seconds: float

    @classmethod
    def of(cls, outcomes: Iterable[Outcome], *, reason: Reason, cancelled: int, seconds: float) -> Batch:
        """Count the outcomes of a batch."""
        errors = [outcome.error is not None for outcome in outcomes]
        failed = sum(errors)
        return cls(written=len(errors) - failed, failed=failed, cancelled=cancelled, reason=reason, seconds=seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchStats:
    """What a batch writer has done so far.

    Args:
        submitted: Items taken.
        written: Of these, those that became rows.
        failed: Those that got an error.
        cancelled: Those that were cancelled before they were written.
        dropped: Items refused for want of room, with `full="drop"`.
        waiting: Items on their way now.
        batches: Batches.
        seconds: What they took, in all.
    """

    submitted: int
    written: int
    failed: int
    cancelled: int
    dropped: int
    waiting: int
    batches: int
    seconds: float


class Counts:
    """The counters behind `BatchStats`; the writer's lock is held."""

    def __init__(self) -> None:
        self.submitted = self.settled = self.dropped = 0
        self._written = self._failed = self._cancelled = self._batches = 0
        self._seconds = 0.0

    def note(self, batch: Batch) -> None:
        """Add a batch."""
        self._written += batch.written
        self._failed += batch.failed
        self._cancelled += batch.cancelled
        self._batches += 1
        self._seconds += batch.seconds
        self.settled += batch.written + batch.failed + batch.cancelled

    def stats(self, *, waiting: int) -> BatchStats:
        """Return them."""
        return BatchStats(
            submitted=self.submitted,
            written=self._written,
            failed=self._failed,
            cancelled=self._cancelled,
            dropped=self.dropped,
            waiting=waiting,
            batches=self._batches,
            seconds=self._seconds,
        )


class BatchSettings:
    """The settings of a batch writer, checked.

    Raises:
        ConfigError: One of them is bad.
    """

    def __init__(self, *, size: int, interval: Duration, capacity: int, full: Full) -> None:
        self.size = whole_number(size, "size", at_least=1)
        self.interval = positive_duration(interval, "interval")
        self.capacity = whole_number(capacity, "capacity", at_least=self.size)
        if full not in ("block", "raise", "drop"):
            raise ConfigError(f"full: {full!r} is not accepted", hint="write 'block', 'raise' or 'drop'")
        self.full: Full = full

    def buffer(self, *, when_waiting: bool, regather: float, gone: Callable[[Any], bool]) -> Buffer:
        """Make the buffer."""
        return Buffer(
            size=self.size,
            interval=self.interval,
            capacity=self.capacity,
            when_waiting=when_waiting,
            regather=regather,
            gone=gone,
        )

    def full_error(self) -> QueueFull:
        """Make the error of an item for which there is no room."""
        return QueueFull(
            f"{self.capacity} items are on their way and there is room for no more: they come faster than they are written",
            hint="wait for results, raise capacity or size, or let submit wait with full='block'",
        )


def report(on_batch: Callable[[Batch], object] | None, batch: Batch) -> None:
    """Tell a callback of a batch; an error of it is logged, never raised."""
    if on_batch is None:
        return
    try:
        on_batch(batch)
    except Exception:
        _log.exception("on_batch failed on %r", batch)

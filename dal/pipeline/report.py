"""What a run did, stage by stage: how much, how fast, and what each stage spent its time on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PipelineReport", "RejectedItem", "StageReport"]

KEPT = 1000
"""Rejected items that a report holds; a sink for rejects is told all of them."""


@dataclass(frozen=True, slots=True)
class RejectedItem:
    """An item that went no further.

    Args:
        stage: The stage that refused it.
        item: The item, as it came to that stage.
        reason: What was raised.
    """

    stage: str
    item: Any
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """One stage of a run. Times are seconds, of all its workers together.

    Args:
        name: The stage.
        workers: How many it had.
        items: Items that came to it; for the source, that it gave.
        passed: Items it passed on, or stored.
        rejected: Items it refused.
        rate: Items a second.
        busy: Time in its function.
        waiting_for_input: Time in which it had nothing to do.
        waiting_for_output: Time in which the next stage had no room.
        queue_depth: Items waiting in front of it, on average.
        queue_peak: Items waiting in front of it at most.
        ordered: Whether it keeps the order of its input.
    """

    name: str
    workers: int
    items: int
    passed: int
    rejected: int
    rate: float
    busy: float
    waiting_for_input: float
    waiting_for_output: float
    queue_depth: float
    queue_peak: int
    ordered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineReport:
    """What a run did.

    Args:
        stages: The source, and each stage.
        rejected: The first rejected items, a thousand at most.
        seconds: How long it took.
        complete: Whether all of the source went through.
    """

    stages: Sequence[StageReport]
    rejected: Sequence[RejectedItem] = field(default=(), repr=False)
    seconds: float
    complete: bool

    @property
    def read(self) -> int:
        """Items that the source gave."""
        return self.stages[0].items

    @property
    def stored(self) -> int:
        """Items that the last stage has stored."""
        return self.stages[-1].passed

    @property
    def refused(self) -> int:
        """Items that were rejected, by all stages together."""
        return sum(stage.rejected for stage in self.stages)

    @property
    def slow(self) -> str:
        """The stage that the others wait for: whose workers are busy most of the time."""
        return max(self.stages, key=lambda stage: stage.busy / stage.workers).name

    @property
    def ordered(self) -> bool:
        """Whether what was stored is in the order of the source."""
        return all(stage.ordered for stage in self.stages)

    def __str__(self) -> str:
        columns = {"items": 10, "rejected": 8, "items/s": 10, "busy": 8, "no input": 8, "no room": 8, "queue": 7}
        head = f"{'stage':<16} {' '.join(f'{name:>{width}}' for name, width in columns.items())}"
        lines = [
            f"{f'{stage.name} x{stage.workers}' if stage.workers > 1 else stage.name:<16.16} {stage.items:>10,}"
            f" {stage.rejected:>8,} {stage.rate:>10,.0f} {stage.busy:>7.2f}s {stage.waiting_for_input:>7.2f}s"
            f" {stage.waiting_for_output:>7.2f}s {stage.queue_depth:>7.0f}"
            for stage in self.stages
        ]
        ended = "" if self.complete else ", stopped before the end of the source"
        order = "" if self.ordered else "; not in the order of the source, because a stage has several workers"
        told = f"{self.stored:,} of {self.read:,} stored in {self.seconds:.2f} s{ended}; the slow stage is {self.slow}{order}"
        return "\n".join([head, *lines, told])

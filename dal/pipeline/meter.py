"""The numbers of a running stage; each worker writes its own, so nobody waits for a lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dal.pipeline.channel import Channel
from dal.pipeline.report import StageReport

__all__ = ["Meter", "stage_report"]


@dataclass(slots=True)
class Meter:
    """One worker's numbers: items and seconds."""

    items: int = 0
    passed: int = 0
    rejected: int = 0
    busy: float = 0.0
    waiting_for_input: float = 0.0
    waiting_for_output: float = 0.0


def stage_report(name: str, meters: Sequence[Meter], channel: Channel | None, *, seconds: float, ordered: bool) -> StageReport:
    """Add up the numbers of a stage's workers.

    Args:
        name: The stage.
        meters: Its workers' numbers.
        channel: The queue in front of it; None for the source.
        seconds: Since the run began.
        ordered: Whether it keeps the order.
    """
    items = sum(meter.items for meter in meters)
    return StageReport(
        name=name,
        workers=len(meters),
        items=items,
        passed=sum(meter.passed for meter in meters),
        rejected=sum(meter.rejected for meter in meters),
        rate=items / seconds if seconds else 0.0,
        busy=sum(meter.busy for meter in meters),
        waiting_for_input=sum(meter.waiting_for_input for meter in meters),
        waiting_for_output=sum(meter.waiting_for_output for meter in meters),
        queue_depth=channel.mean_depth() if channel else 0.0,
        queue_peak=channel.peak if channel else 0,
        ordered=ordered,
    )

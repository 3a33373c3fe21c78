"""The line that `run(progress=True)` keeps on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dal.errors import UsageError
from dal.pipeline.report import PipelineReport

__all__ = ["INTERVAL", "shown"]

INTERVAL = 0.5
_QUIET_STEPS = 20


@contextmanager
def shown(progress: bool | Callable[[PipelineReport], object]) -> Iterator[Callable[[PipelineReport], object] | None]:
    """Return what is told the progress.

    Args:
        progress: Whether to show it, or the caller's own function.

    Yields:
        A function, or None.

    Raises:
        UsageError: It is neither.
    """
    if not isinstance(progress, bool):
        if not callable(progress):
            raise UsageError(f"progress={progress!r} is neither a function nor True", hint="run(progress=True)")
        yield progress
        return
    if not progress:
        yield None
        return
    terminal = sys.stderr.isatty()
    steps = [0]

    def show(report: PipelineReport) -> None:
        steps[0] += 1
        line = (
            f"{report.read:,} read, {report.stored:,} stored, {report.refused:,} rejected,"
            f" {report.read / report.seconds if report.seconds else 0:,.0f} items/s, slow: {report.slow}"
        )
        if terminal:
            sys.stderr.write(f"\r\x1b[2K{line}")
        elif report.complete or steps[0] % _QUIET_STEPS == 0:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    try:
        yield show
    finally:
        if terminal and steps[0]:
            sys.stderr.write("\n")

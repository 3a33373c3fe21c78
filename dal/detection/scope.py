"""One observed stretch of work: a test, a request, a `with detect()` block.

It counts what listeners tell it, in groups, and never keeps a statement, a value or an object of the application. Its size is
bounded however long it lasts.
"""

from __future__ import annotations

from contextvars import ContextVar

from dal.detection.eager import EagerLoads
from dal.detection.groups import Group
from dal.detection.runs import Runs
from dal.detection.sorter import Sorter
from dal.detection.statement import Statement
from dal.detection.wide import WideRows

__all__ = ["Scope", "ignored"]

ignored: ContextVar[bool] = ContextVar("dal_detection_ignored", default=False)
"""Statements sent while this is true are counted, and nothing is said about them."""


class Scope:
    """What was seen in one stretch of work.

    Args:
        threshold: From how many objects on a load for each of them is told.
        follow_threads: Take statements of threads that no scope of their own watches, while this is the only one open.
        timeline: Keep the first `timeline` statements in order, for the page to look at.
        track_eager: Watch whether what is loaded eagerly is read.
        wide: Watch which columns of wide rows are read.

    Attributes:
        statements: Statements that reached the database.
        seconds: Time they took.
        end: The id of the frame that opened the scope and stays on the stack while it is open: no walk goes beyond it.
        groups: What was seen, by shape and place.
        failed: Statements that could not be observed.
    """

    def __init__(
        self,
        *,
        threshold: int = 2,
        follow_threads: bool = True,
        timeline: int = 0,
        track_eager: bool = True,
        wide: bool = False,
    ) -> None:
        self.threshold = threshold
        self.follow_threads = follow_threads
        self.statements = 0
        self.end = 0
        self.seconds = 0.0
        self.wide = WideRows() if wide else None
        self.timeline: list[tuple[float, float, str, Group | None]] = []
        self.failed = 0
        self.closed = False
        self.started: float | None = None
        runs = Runs()
        self.eager = EagerLoads(runs)
        self._sorter = Sorter(self.eager, runs, track_eager=track_eager, wide=self.wide)
        self.groups = self._sorter.groups
        self._most_timeline = timeline

    def flush_began(self) -> None:
        """Note the start of a flush."""
        self._sorter.flushes += 1

    def add(self, statement: Statement) -> None:
        """Count one execution."""
        if self.eager.unsettled:
            self.eager.settle()
        seconds = statement.ended - statement.started
        self.statements += 1
        self.seconds += seconds
        sorter = self._sorter
        group = None if ignored.get() else sorter.group_of(statement)
        if group is not None:
            group.count += 1
            group.seconds += seconds
        if self._most_timeline:
            self._tick(statement, group)
        sorter.last_end = statement.ended

    def _tick(self, statement: Statement, group: Group | None) -> None:
        if self.started is None:
            self.started = statement.started
        if len(self.timeline) < self._most_timeline:
            at, took = statement.started - self.started, statement.ended - statement.started
            self.timeline.append((at, took, statement.shape.text, group))

    def close(self) -> None:
        """Let go of everything that belongs to the application."""
        self.closed = True
        self._sorter.units.clear()
        self.eager.close()
        if self.wide is not None:
            self.wide.close()

"""`Pipeline`: validate, transform, aggregate and store, all at the same time.

    Pipeline(read_csv(path)).validate(check).transform(enrich).aggregate(by_day).store(BulkWriter(db, Daily)).run()

Use it where the steps take time of different kinds (reading, computing, writing) and would wait for each other in a loop. The
queues between stages are bounded: the slowest stage sets the pace, and memory stays flat whatever comes out of the source. For
a file that only has to get into a table, `BulkWriter.load` is shorter; for work that has to survive a crash, `db.jobs`.
"""

from __future__ import annotations

from collections.abc import Callable

from dal.pipeline.builder import Builder, OnError
from dal.pipeline.progress import INTERVAL, shown
from dal.pipeline.report import PipelineReport, RejectedItem
from dal.pipeline.runtime import Threads
from dal.pipeline.signals import terminable

__all__ = ["Pipeline"]


class Pipeline(Builder):
    """A source and stages that run in threads, or in processes where a stage says so.

    Args:
        source: Where items come from: any iterable. Items that have `ack()` are acknowledged when they are stored or rejected.
        queue: Items in front of a stage, at most; by default four batches for each of its workers.

    Raises:
        ConfigError: A queue has no room.
        UsageError: Nothing can be read from the source.

    Example:
        >>> stored = []
        >>> report = Pipeline(["1", "2", "x"]).transform(int).store(stored).run()
        >>> stored, report.rejected[0].reason
        ([1, 2], "ValueError: invalid literal for int() with base 10: 'x'")
    """

    def run(
        self,
        *,
        progress: bool | Callable[[PipelineReport], object] = False,
        on_error: OnError = "reject",
        rejects: Callable[[RejectedItem], object] | None = None,
        max_rejected: int | None = None,
    ) -> PipelineReport:
        """Run it until the source is over and everything is stored.

        Ctrl-C, SIGTERM and every error end it: each worker finishes the batch it is at, threads and processes are gone, and
        what was read and not stored is told, on the error and in `report()`.

        Args:
            progress: Show a line on standard error, or call a function, twice a second.
            on_error: "reject" an item that a stage raises for and go on, or "stop" at the first.
            rejects: Called with each rejected item; the report holds the first thousand.
            max_rejected: How many may be rejected before it stops after all.

        Returns:
            What was done, by stage.

        Raises:
            StageFailed: The source or a stage failed; its own error is the `__cause__`.
            UsageError: There is nothing that stores.
        """
        run = self._prepared(Threads, on_error, rejects, max_rejected)
        with terminable(), shown(progress) as show:
            return run.run(INTERVAL, show)

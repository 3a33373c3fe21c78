"""How a pipeline is described, for both doors: each method returns a new description with one stage more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Self

from dal.durations import Duration, seconds
from dal.errors import ConfigError, UsageError
from dal.pipeline.aggregate import Aggregate
from dal.pipeline.rejects import Rejects
from dal.pipeline.report import PipelineReport, RejectedItem
from dal.pipeline.run import Run
from dal.pipeline.runtime import Runtime
from dal.pipeline.stage import Kind, Stage, stage

__all__ = ["Builder", "OnError"]

OnError = Literal["reject", "stop"]

_PATIENCE = 0.005


class Builder:
    """A source and the stages so far.

    Args:
        source: Where items come from: any iterable. Items that have `ack()` are acknowledged when they are stored or rejected.
        queue: Items in front of a stage, at most; by default four batches for each of its workers.

    Raises:
        ConfigError: A queue has no room.
        UsageError: Nothing can be read from the source.
    """

    _awaits: ClassVar[bool] = False

    def __init__(self, source: Any, *, queue: int | None = None) -> None:
        if queue is not None and (not isinstance(queue, int) or isinstance(queue, bool) or queue < 1):
            raise ConfigError(f"queue: {queue!r} is no number of items", hint="write a whole number from 1")
        _check_source(source, self._awaits)
        self._source, self._queue = source, queue
        self._stages: tuple[Stage, ...] = ()
        self._running: Run | None = None

    def validate(
        self,
        check: Callable[[Any], Any],
        *,
        workers: int = 1,
        batch: int = 100,
        processes: bool = False,
        name: str | None = None,
    ) -> Self:
        """Let a function look at each item.

        Args:
            check: Called with an item; returns the item to pass on, or raises, and the item is rejected.
            workers: How many threads, processes or tasks. With one the order is kept, with several it is not.
            batch: Items that a worker takes at a time.
            processes: Give each worker a process: for functions that hold the interpreter, found there by their name.
            name: What reports call the stage.

        Returns:
            The pipeline with this stage.

        Raises:
            UsageError: The function cannot run like that.
            ConfigError: A number is below 1.
        """
        return self._with("validate", check, workers=workers, batch=batch, processes=processes, name=name)

    def transform(
        self,
        work: Callable[[Any], Any],
        *,
        workers: int = 1,
        batch: int = 100,
        processes: bool = False,
        name: str | None = None,
    ) -> Self:
        """Turn each item into another one; the arguments are those of `validate`.

        Args:
            work: Called with an item; returns the item to pass on, or raises, and the item is rejected.
            workers: How many threads, processes or tasks.
            batch: Items that a worker takes at a time.
            processes: Give each worker a process.
            name: What reports call the stage.
        """
        return self._with("transform", work, workers=workers, batch=batch, processes=processes, name=name)

    def aggregate(
        self, how: Aggregate, *, workers: int = 1, batch: int = 100, processes: bool = False, name: str | None = None
    ) -> Self:
        """Turn all items into one for each key, passed on when the source is over.

        Args:
            how: How.
            workers: How many; several need `Aggregate(merge=...)`.
            batch: Items that a worker takes at a time.
            processes: Give each worker a process.
            name: What reports call the stage.
        """
        return self._with("aggregate", how, workers=workers, batch=batch, processes=processes, name=name)

    def store(
        self,
        sink: Any,
        *,
        workers: int = 1,
        batch: int = 1000,
        linger: Duration = 0.1,
        after: Sequence[Callable[[], object]] = (),
        name: str | None = None,
    ) -> Self:
        """Store the items; the last stage.

        Args:
            sink: A BulkWriter or something else with `insert(rows)`, a function that takes a list of items, or a list.
            workers: How many.
            batch: Items that are stored at a time; a BulkWriter writes each batch in a transaction of its own.
            linger: How long to wait for a full batch.
            after: Called one after the other when everything is stored, such as `BuildIndexes(...)` and `Dump(...)`.
            name: What reports call the stage.
        """
        patience = seconds(linger, name="linger")
        return self._with("store", sink, workers=workers, batch=batch, name=name, patience=patience, after=after)

    def stop(self) -> None:
        """Read no more of the source, let what was read go through, and end the run; may be called from anywhere."""
        if self._running is not None:
            self._running.stop()

    def report(self) -> PipelineReport | None:
        """Return what the present or last run has done so far."""
        return None if self._running is None else self._running.report()

    def _with(
        self,
        kind: Kind,
        work: Any,
        *,
        workers: int,
        batch: int,
        name: str | None,
        processes: bool = False,
        patience: float = _PATIENCE,
        after: Sequence[Callable[[], object]] = (),
    ) -> Self:
        if self._stages and self._stages[-1].kind == "store":
            raise UsageError(f"{kind}() comes after store()", hint="store() comes last; a function can store in two places")
        made = stage(
            kind,
            work,
            name=name,
            workers=workers,
            batch=batch,
            patience=patience,
            processes=processes,
            after=after,
            taken=[each.name for each in self._stages],
            awaits=self._awaits,
        )
        longer = type(self)(self._source, queue=self._queue)
        longer._stages = (*self._stages, made)
        return longer

    def _prepared(
        self,
        runtime: Callable[[int], Runtime],
        on_error: OnError,
        rejects: Callable[[RejectedItem], object] | None,
        max_rejected: int | None,
    ) -> Run:
        if not self._stages or self._stages[-1].kind != "store":
            raise UsageError("the pipeline stores nothing", hint=".store(BulkWriter(db, Daily)), or .store(function)")
        if on_error not in ("reject", "stop"):
            raise UsageError(f"on_error={on_error!r} is not known", hint='write "reject" or "stop"')
        if rejects is not None and not callable(rejects):
            raise UsageError(f"rejects={rejects!r} is no function", hint="rejects=found.append")
        if max_rejected is not None and (
            isinstance(max_rejected, bool) or not isinstance(max_rejected, int) or max_rejected < 0
        ):
            raise UsageError(f"max_rejected={max_rejected!r} is no number of items", hint="0 or more; None for no limit")
        workers = 1 + sum(each.workers for each in self._stages)
        self._running = Run(
            self._source,
            self._stages,
            runtime(workers),
            rejects=Rejects(stop=on_error == "stop", sink=rejects, limit=max_rejected),
            queue=self._queue,
        )
        return self._running


def _check_source(source: Any, awaits: bool) -> None:
    if hasattr(source, "__iter__") and not isinstance(source, (str, bytes)):
        return
    if hasattr(source, "__aiter__"):
        if awaits:
            return
        raise UsageError(f"{source!r} is an async source", hint="AsyncPipeline(source)")
    raise UsageError(
        f"{source!r} is no source: it cannot be iterated over",
        hint="a list, a generator, read_csv(path), read_select(db, select(A))",
    )

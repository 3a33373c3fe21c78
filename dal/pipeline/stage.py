"""A stage as it is described: what it does, with how many workers, and how much it takes at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dal._processes import check_portable
from dal.errors import ConfigError, UsageError
from dal.pipeline.aggregate import Aggregate
from dal.pipeline.sinks import Store, sink_of
from dal.pipeline.work import Each, Fold, is_async

__all__ = ["Kind", "Stage", "stage"]

Kind = Literal["validate", "transform", "aggregate", "store"]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage.

    Args:
        kind: What it does.
        name: What reports call it.
        work: Its function, its Aggregate, or where it stores.
        workers: How many.
        batch: Items that a worker takes at a time, at most.
        patience: Seconds that a worker waits for a full batch.
        processes: Whether each worker has a process.
        after: Called one after the other when everything is stored.
    """

    kind: Kind
    name: str
    work: Any
    workers: int
    batch: int
    patience: float
    processes: bool = False
    after: Sequence[Callable[[], object]] = ()

    @property
    def ordered(self) -> bool:
        """Whether it keeps the order of its input; an aggregating stage gives its keys in the order they came first."""
        return self.workers == 1

    def worker(self, *, refusing: bool) -> Any:
        """Make what one worker calls with each batch.

        Args:
            refusing: Whether a writer shall refuse single rows, rather than write nothing of a batch with a bad one.
        """
        if self.kind == "store":
            return Store(*sink_of(self.work, refusing=refusing))
        make, arguments = self.portable()
        return make(*arguments, True)

    def portable(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return the same as something that another process can make."""
        return (Fold, (self.work,)) if self.kind == "aggregate" else (Each, (self.work, self.kind))


def stage(
    kind: Kind,
    work: Any,
    *,
    name: str | None,
    workers: int,
    batch: int,
    patience: float,
    processes: bool = False,
    after: Sequence[Callable[[], object]] = (),
    taken: Sequence[str],
    awaits: bool,
) -> Stage:
    """Check what a caller said of a stage.

    Args:
        kind: What it does.
        work: Its function, its Aggregate, or where it stores.
        name: What reports call it; by default its kind, numbered where there are several.
        workers: How many.
        batch: Items that a worker takes at a time.
        patience: Seconds that a worker waits for a full batch.
        processes: Whether each worker has a process.
        after: Called when everything is stored.
        taken: The names of the other stages.
        awaits: Whether coroutine functions can be awaited.

    Raises:
        ConfigError: A number is below 1.
        UsageError: It is no function, or cannot run like that.
    """
    for key, number in (("workers", workers), ("batch", batch)):
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise ConfigError(f"{key}: {number!r} is no number of {_counted[key]}", hint="write a whole number from 1")
    _check_work(kind, work, workers)
    if not awaits and _asks_to_await(kind, work):
        raise UsageError(f"{kind}: {work!r} is a coroutine function", hint="AsyncPipeline(source), or a plain function")
    if processes:
        if _asks_to_await(kind, work):
            raise UsageError(f"{kind}: a process cannot await {work!r}", hint="leave processes=True out")
        check_portable(work, what=f"{kind}(processes=True)")
    if not all(callable(each) for each in after):
        raise UsageError(f"after={after!r} is no list of functions", hint="after=[BuildIndexes(db, Index(...))]")
    if not awaits and any(is_async(each) for each in after):
        raise UsageError(f"after={after!r} has a coroutine function", hint="AsyncPipeline(source), or a plain function")
    chosen = name or _numbered(kind, taken)
    if chosen in {*taken, "source"}:
        raise UsageError(f"there is a stage {chosen!r} already", hint="give each stage a name of its own")
    return Stage(kind, chosen, work, workers, batch, patience, processes, tuple(after))


_counted = {"workers": "workers", "batch": "items"}


def _check_work(kind: Kind, work: Any, workers: int) -> None:
    if kind == "store":
        sink_of(work)
    elif kind == "aggregate":
        if not isinstance(work, Aggregate):
            raise UsageError(f"{work!r} is no Aggregate", hint="aggregate(Aggregate(key=..., init=..., step=..., finish=...))")
        if workers > 1 and work.merge is None:
            raise UsageError(
                "several workers each have a state of their own for a key", hint="Aggregate(..., merge=...), or workers=1"
            )
    elif not callable(work):
        raise UsageError(f"{kind}: {work!r} is no function", hint=f"{kind}(function), called with each item")


def _asks_to_await(kind: Kind, work: Any) -> bool:
    return sink_of(work)[1] if kind == "store" else kind != "aggregate" and is_async(work)


def _numbered(kind: str, taken: Sequence[str]) -> str:
    same = sum(name == kind or name.startswith(f"{kind} ") for name in taken)
    return f"{kind} {same + 1}" if same else kind

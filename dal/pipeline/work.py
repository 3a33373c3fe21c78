"""What the workers of each kind of stage do with a batch of items. One object a worker, here or in a process of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple

from dal.errors import UsageError
from dal.pipeline.aggregate import Aggregate

__all__ = ["After", "Done", "Each", "Fold", "Refused", "finished", "is_async", "reason_of"]

Kind = Literal["validate", "transform"]


class Refused(NamedTuple):
    """An item of a batch that goes no further: its place in the batch, why, and the error where it is at hand."""

    place: int
    reason: str
    error: BaseException | None


class Done(NamedTuple):
    """A batch that is done: what is passed on, in order, and what is refused."""

    items: list[Any]
    refused: list[Refused]


def reason_of(error: BaseException) -> str:
    """Say why, in one line."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


class Each:
    """Calls a function with each item and passes on what it returns.

    Args:
        work: The function.
        kind: "validate" or "transform".
        keep_errors: Keep the errors themselves, not only what they say.
    """

    def __init__(self, work: Callable[[Any], Any], kind: Kind, keep_errors: bool) -> None:
        self._work, self._kind, self._keep = work, kind, keep_errors

    def __call__(self, items: list[Any]) -> Done:
        """Do a batch."""
        work, done, refused = self._work, [], []
        for place, item in enumerate(items):
            try:
                result = work(item)
            except Exception as error:
                refused.append(Refused(place, reason_of(error), error if self._keep else None))
                continue
            if result is None or result is True or result is False:
                self._question(item, result)
            done.append(result)
        return Done(done, refused)

    async def awaited(self, items: list[Any]) -> Done:
        """Do a batch with a coroutine function."""
        work, done, refused = self._work, [], []
        for place, item in enumerate(items):
            try:
                result = await work(item)
            except Exception as error:
                refused.append(Refused(place, reason_of(error), error))
                continue
            if result is None or result is True or result is False:
                self._question(item, result)
            done.append(result)
        return Done(done, refused)

    @property
    def is_async(self) -> bool:
        """Whether it has to be awaited."""
        return is_async(self._work)

    def _question(self, item: Any, result: Any) -> None:
        # A function that says True, or forgets to return, would turn every item into that.
        said = isinstance(result, bool) and not isinstance(item, bool) and self._kind == "validate"
        if said or (result is None and item is not None):
            name = getattr(self._work, "__name__", repr(self._work))
            raise UsageError(
                f"{self._kind}: {name} returned {result!r}", hint="return the item to pass on, or raise what rejects it"
            )


class Fold:
    """Keeps one state for each key.

    Args:
        aggregate: How.
        keep_errors: Keep the errors themselves, not only what they say.
    """

    is_async = False

    def __init__(self, aggregate: Aggregate, keep_errors: bool) -> None:
        self._aggregate, self._keep = aggregate, keep_errors
        self._states: dict[Any, Any] = {}

    def __call__(self, items: list[Any] | None) -> Any:
        """Count a batch; None asks for the states."""
        if items is None:
            return self._states
        aggregate, states, refused = self._aggregate, self._states, []
        for place, item in enumerate(items):
            try:
                key = aggregate.key(item)
                states[key] = aggregate.step(states[key] if key in states else aggregate.init(), item)
            except Exception as error:
                refused.append(Refused(place, reason_of(error), error if self._keep else None))
        return Done([], refused)


def finished(aggregate: Aggregate, folds: Sequence[dict[Any, Any]], batch: int) -> Iterator[tuple[list[Any], Done]]:
    """Put the states of several workers together, and make items of them.

    Args:
        aggregate: How.
        folds: The states of each worker; used up.
        batch: How many at a time.

    Yields:
        Keys, and what became of them.
    """
    whole: dict[Any, Any] = folds[0]
    for fold in folds[1:]:
        for key, state in fold.items():
            whole[key] = aggregate.merge(whole[key], state) if aggregate.merge and key in whole else state
    while whole:
        keys = list(islice(whole, batch))
        items, refused = [], []
        for place, key in enumerate(keys):
            try:
                items.append(aggregate.finish(key, whole.pop(key)))
            except Exception as error:
                refused.append(Refused(place, reason_of(error), error))
        yield keys, Done(items, refused)


def is_async(work: Any) -> bool:
    """Tell whether what is called has to be awaited."""
    return inspect.iscoroutinefunction(work) or inspect.iscoroutinefunction(getattr(work, "__call__", None))  # noqa: B004


class After:
    """Something that is done when everything is stored.

    Args:
        work: Called without arguments.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work, self.is_async = work, is_async(work)

    def __call__(self, nothing: None) -> object:
        """Do it."""
        return self._work()

    async def awaited(self, nothing: None) -> object:
        """Do it, awaiting it."""
        return await self._work()

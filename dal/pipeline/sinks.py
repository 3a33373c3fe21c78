"""Where a pipeline stores: a BulkWriter or whatever has `insert(rows)`, or a function that takes a list of items.

A BulkWriter writes each batch in a transaction of its own and refuses single rows; what it refuses is a rejected item of the
store stage. Where the run stops at the first error, it writes nothing of a batch with a bad row. A function may return
something with `rejected` (each with a `position` and a `reason`), as the methods of a BulkWriter do. Any other error stops the
run: nobody can tell how much of the batch was written.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from dal.errors import UsageError
from dal.pipeline.work import Done, Refused, is_async

__all__ = ["Store", "sink_of"]


def sink_of(target: Any, *, refusing: bool = True) -> tuple[Callable[[list[Any]], Any], bool]:
    """Return what takes a list of items, and whether it has to be awaited.

    Args:
        target: Something with `insert`, or a function.
        refusing: Whether a writer shall refuse single rows, rather than write nothing of a batch with a bad one.

    Raises:
        UsageError: It is neither.
    """
    insert = getattr(target, "insert", None)
    if isinstance(target, list):
        return target.extend, False
    if callable(insert):
        return _refusing(insert) if refusing else insert, is_async(insert)
    if callable(target):
        return target, is_async(target)
    raise UsageError(f"{target!r} cannot store items", hint="store(BulkWriter(db, Daily)), or a function that takes a list")


class Store:
    """Stores batches.

    Args:
        sink: Takes a list of items.
        is_async: Whether it has to be awaited.
    """

    def __init__(self, sink: Callable[[list[Any]], Any], is_async: bool) -> None:
        self._sink, self.is_async = sink, is_async

    def __call__(self, items: list[Any]) -> Done:
        """Store a batch."""
        return _done(items, self._sink(items))

    async def awaited(self, items: list[Any]) -> Done:
        """Store a batch, awaiting it."""
        return _done(items, await self._sink(items))


def _refusing(insert: Callable[..., Any]) -> Callable[[list[Any]], Any]:
    if "on_error" in inspect.signature(insert).parameters:
        return lambda items: insert(items, on_error="reject")
    return insert


def _done(items: list[Any], result: Any) -> Done:
    rejected = getattr(result, "rejected", None) or ()
    refused = [Refused(each.position, each.reason, None) for each in rejected]
    if not refused:
        return Done(items, [])
    places = {each.place for each in refused}
    return Done([item for place, item in enumerate(items) if place not in places], refused)

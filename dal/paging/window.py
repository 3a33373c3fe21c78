"""The one call that reads a page's rows, and what comes of it before anybody signs anything.

A `Window` knows nothing of cursors and owners, so it is what a cache may keep: the same rows serve every reader, each of
whom gets cursors of his own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Result
from sqlalchemy.orm import Session

from dal.paging.keyset import Position
from dal.paging.plan import PagePlan

__all__ = ["Window", "read", "window_of"]

T = TypeVar("T")


@dataclass(frozen=True)
class Window(Generic[T]):
    """Rows between two positions.

    Args:
        items: What was selected, in order.
        keys: The key values of each item.
        next: The position that the rows behind them come after, or None where there are none.
        previous: The position that the rows in front of them come before, or None where there are none.
    """

    items: list[T]
    keys: list[tuple[Any, ...]]
    next: Position | None
    previous: Position | None


def read(
    session: Session | Connection,
    planned: PagePlan[T],
    size: int,
    *,
    after: Position | None = None,
    before: Position | None = None,
    offset: int = 0,
    backwards: bool = False,
) -> Window[T]:
    """Read a page's rows.

    Args:
        session: Where; a Connection for what is not mapped.
        planned: The plan.
        size: Rows of the page, 1 or more.
        after: Begin after this position.
        before: End before this position.
        offset: Rows to skip.
        backwards: Begin at the end, where there is no position.

    Returns:
        The rows.
    """
    statement, values = planned.statement(size, after=after, before=before, offset=offset, backwards=backwards)
    result = session.execute(statement, values)
    return window_of(planned, result, size, after=after, before=before, offset=offset, backwards=backwards)


def window_of(
    planned: PagePlan[T],
    result: Result[Any],
    size: int,
    *,
    after: Position | None = None,
    before: Position | None = None,
    offset: int = 0,
    backwards: bool = False,
) -> Window[T]:
    """Make the window of what a page's statement returned; the arguments are those of the statement."""
    items, keys = _split(planned, result)
    more = len(items) > size
    items, keys = items[:size], keys[:size]
    started = after is not None or before is not None or offset > 0
    if before is not None or backwards:
        items.reverse()
        keys.reverse()
        return Window(items, keys, _edge(keys, -1, before, -1) if started else None, _edge(keys, 0, None, 0) if more else None)
    return Window(items, keys, _edge(keys, -1, None, 0) if more else None, _edge(keys, 0, after, 1) if started else None)


def _edge(keys: Sequence[tuple[Any, ...]], place: int, anchor: Position | None, side: int) -> Position | None:
    """Return the position of the first or last row; of a page without rows, the gap beside what it was asked from."""
    if keys:
        return Position(keys[place])
    return None if anchor is None else Position(anchor.values, anchor.side or side)


def _split(planned: PagePlan[T], result: Result[Any]) -> tuple[list[Any], list[tuple[Any, ...]]]:
    if _repeats(result):
        result = result.unique()
    width = planned.width
    if width == 1:
        rows = result.all()
        return [row[0] for row in rows], [tuple(row[1:]) for row in rows]
    frozen = result.freeze()
    items = list(frozen().columns(*range(width)).all())
    return items, [tuple(row[width:]) for row in frozen().all()]


def _repeats(result: Result[Any]) -> bool:
    """Tell whether a joined collection made rows repeat their entity."""
    return getattr(result, "_unique_filter_state", None) is not None

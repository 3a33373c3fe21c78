"""Walk everything a SELECT returns, in batches, by keyset: constant memory, no open cursor, a commit in between is fine.

Each batch is a statement of its own. In READ COMMITTED, rows written meanwhile ahead of the walk are seen, those behind it
are not; what stands still is seen once. In a REPEATABLE READ transaction the walk sees one snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import Session

from dal.errors import UsageError
from dal.paging.keyset import Position
from dal.paging.pages import dialect_of
from dal.paging.plan import PagePlan, plan
from dal.paging.window import Window, read

__all__ = ["batches", "next_batch", "planned_batches"]

T = TypeVar("T")


def planned_batches(session: Session, statement: Select[T], size: int) -> PagePlan[T]:
    """Check a walk in batches and plan it.

    Raises:
        UsageError: The size is none, or the statement cannot be walked.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise UsageError(f"size is {size!r}", hint="size is the number of rows of a batch: 1 or more")
    return plan(statement, dialect=dialect_of(session, statement))


def next_batch(session: Session, planned: PagePlan[T], size: int, after: Position | None) -> Window[T]:
    """Read the batch that follows a position."""
    return read(session, planned, size, after=after)


def batches(session: Session, planned: PagePlan[T], size: int) -> Iterator[list[T]]:
    """Yield the batches of a planned walk."""
    after = None
    while True:
        window = next_batch(session, planned, size, after)
        if window.items:
            yield window.items
        if window.next is None:
            return
        after = window.next

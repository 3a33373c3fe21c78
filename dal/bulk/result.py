"""What a bulk call did: counts, time, and the rows that were refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["BulkResult", "Rejected", "joined"]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that was not written, and why.

    Args:
        position: Its place among the rows given, from 0.
        reason: What the database, or the check before it, said.
        column: The attribute at fault, where one is.
        value: Its value.
        sqlstate: PostgreSQL's code for the reason; "" where the row was refused before it was sent.
        constraint: The constraint that refused it, where one did.
        row: The row as given.
        line: Its line in a file, from 1; None where rows did not come from one.
    """

    position: int
    reason: str
    column: str | None = None
    value: Any = None
    sqlstate: str = ""
    constraint: str | None = None
    row: Any = field(default=None, repr=False)
    line: int | None = None


@dataclass(frozen=True, kw_only=True)
class BulkResult:
    """What a bulk call did.

    Args:
        inserted: Rows that are new.
        updated: Rows that were changed.
        unchanged: Rows that an upsert found to be as they should be, and left alone.
        deleted: Rows that are gone.
        missing: Rows or keys of an update or delete for which the table has no row.
        rejected: Rows that were not written, in the order given; empty unless `on_error="reject"`. Where they went to a file,
            a table or a function as well, that is told there.
        rows: What `returning=` asked for, one for each row that was written, in the order given.
        seconds: How long it took.

    Example:
        >>> BulkResult(inserted=300, seconds=0.5).rows_per_second
        600.0
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    missing: int = 0
    rejected: Sequence[Rejected] = ()
    rows: Sequence[Any] = field(default=(), repr=False)
    seconds: float = 0.0

    @property
    def written(self) -> int:
        """Rows that the call has put where they belong: inserted, updated, unchanged and deleted together."""
        return self.inserted + self.updated + self.unchanged + self.deleted

    @property
    def rows_per_second(self) -> float:
        """Rows handled in a second, the rejected ones included."""
        return (self.written + self.missing + len(self.rejected)) / self.seconds if self.seconds else 0.0


def joined(one: BulkResult, other: BulkResult) -> BulkResult:
    """Return what two calls did together."""
    return BulkResult(
        inserted=one.inserted + other.inserted,
        updated=one.updated + other.updated,
        unchanged=one.unchanged + other.unchanged,
        deleted=one.deleted + other.deleted,
        missing=one.missing + other.missing,
        rejected=[*one.rejected, *other.rejected],
        rows=[*one.rows, *other.rows],
        seconds=one.seconds + other.seconds,
    )

"""Tally: what a running call has done so far; it becomes a BulkResult."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dal.bulk.result import BulkResult, Rejected

__all__ = ["Tally"]


@dataclass
class Tally:
    """Counts of a running call.

    Args:
        inserted: Rows that are new.
        updated: Rows that were changed.
        unchanged: Rows left alone.
        deleted: Rows that are gone.
        missing: Keys without a row.
        rejected: Rows refused.
        rows: What `returning` asked for, by position.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    missing: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    rows: dict[int, Any] = field(default_factory=dict)

    def result(self, seconds: float) -> BulkResult:
        """Close the books.

        Args:
            seconds: How long it took.
        """
        return BulkResult(
            inserted=self.inserted,
            updated=self.updated,
            unchanged=self.unchanged,
            deleted=self.deleted,
            missing=self.missing,
            rejected=sorted(self.rejected, key=lambda each: each.position),
            rows=[self.rows[position] for position in sorted(self.rows)],
            seconds=seconds,
        )

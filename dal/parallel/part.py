"""A part of a parallel scan: a number, a condition, and words for it; and how far a scan is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select

__all__ = ["Part", "Progress"]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a scan; all of them together are the whole, and no row is in two.

    Args:
        number: From 1, in the order of the keys.
        of: How many there are.
        bounds: What is in it, in words.
        condition: The same as SQL; None where the part is all there is.
    """

    number: int
    of: int
    bounds: str
    condition: ColumnElement[bool] | None = field(default=None, repr=False, compare=False)

    def of_statement(self, statement: Select[Any]) -> Select[Any]:
        """Narrow a statement to this part."""
        return statement if self.condition is None else statement.where(self.condition)

    def __str__(self) -> str:
        return f"part {self.number} of {self.of} ({self.bounds})"

    def __reduce__(self) -> tuple[Any, ...]:
        # An error takes its part along to another process; a condition does not pickle.
        return Part, (self.number, self.of, self.bounds)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a scan is.

    Args:
        done: Parts that are done.
        parts: All parts.
        rows: Rows read.
        seconds: Since it began.
    """

    done: int
    parts: int
    rows: int
    seconds: float

"""Ahead: how far the making of rows runs before the sending of them.

Rows that are there already are sent one group after the other, and the server works while the next is made ready. Where a
generator of the caller's or a default is asked, it must not find the connection in the middle of a COPY, which it may want
itself: some groups are made first, and sent together.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeVar

from dal.bulk.target import Target

__all__ = ["TOGETHER", "ahead", "asks"]

T = TypeVar("T")

TOGETHER = 40_000
"""Rows in one COPY at most: they are held until it has ended, so that a bad one can be shown."""
_AHEAD = 10
"""Groups that are made ready before a COPY begins."""


def asks(target: Target) -> bool:
    """Tell whether a default is asked of the database, or of a function."""
    defaults: list[Any] = [column.default for column in target.columns.values() if column.default is not None]
    return any(not default.is_scalar for default in defaults)


def ahead(groups: Iterator[T], *, alone: bool) -> Iterator[list[T]]:
    """Give groups as they are to be sent: one at a time, or some together.

    Args:
        groups: The groups, made as they are asked for.
        alone: Whether making one needs nothing and nobody.
    """
    while part := list(islice(groups, 1 if alone else _AHEAD)):
        yield part

"""Which rows come after a position: the conditions of a seek, as branches that do not overlap.

    (created_at, id) < (?, ?)                              all NOT NULL, one direction: one row value
    (name, id) > (?, ?)  |  name IS NULL                   name may be NULL, NULLs last: two branches
    a < ?  |  a = ? AND b > ?                              a DESC, b ASC: two branches

Each branch is a range that an index can seek, in an order that the same index gives; together they are every row after
the position once. They are joined by UNION ALL and never by OR, which would read everything before the position too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, literal_column, tuple_

from dal.paging.order import Key
from dal.paging.raw import parameter

__all__ = ["Branch", "Position", "Seek", "branches", "nothing"]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in an order.

    Args:
        values: The key values of a row, which need not be there any more.
        side: 0 for the row itself; -1 for the gap just before it, 1 for the gap just after it.
    """

    values: tuple[Any, ...]
    side: int = 0


@dataclass(frozen=True)
class Branch:
    """A part of the rows after a position.

    Args:
        conditions: What its rows fulfil.
        constant: The places of the keys that are the same in all of its rows.
        present: The places of the keys that are NULL in none of its rows, whatever the model says.
    """

    conditions: tuple[Any, ...]
    constant: frozenset[int] = field(default_factory=frozenset)
    present: frozenset[int] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Seek:
    """What the statement of a page depends on, beside the values of its position.

    Args:
        nulls: Which key values of the position are NULL; None for the first page.
        inclusive: Whether a row with the very key values of the position belongs to the page.
        backwards: Whether the page ends at the position.
        skips: Whether rows are skipped.
    """

    nulls: tuple[bool, ...] | None
    inclusive: bool
    backwards: bool
    skips: bool


def branches(keys: Sequence[Key], expressions: Sequence[ColumnElement[Any]], seek: Seek, *, rows: bool) -> list[Branch]:
    """Return the branches of the rows that come after a position, whose values are parameters.

    Args:
        keys: The order.
        expressions: What is compared, a key each.
        seek: What is known of the position.
        rows: Whether the database seeks by row values.

    Returns:
        The branches, those next to the position first.
    """
    nulls = seek.nulls or ()
    found: list[Branch] = []
    prefix: list[Any] = []
    same: set[int] = set()
    place, last = 0, len(keys)
    while place < last:
        key, expression = keys[place], expressions[place]
        if nulls[place]:
            if key.nulls_first:
                found.append(Branch((*prefix, expression.is_not(None)), frozenset(same), frozenset({place})))
            if seek.inclusive and place == last - 1:
                found.append(Branch((*prefix, expression.is_(None)), frozenset({*same, place})))
            prefix.append(expression.is_(None))
            same.add(place)
            place += 1
            continue
        end = _run(keys, nulls, place) if rows else place + 1
        values = [parameter(each, keys[each].cast_to) for each in range(place, end)]
        reached = seek.inclusive and end == last
        beyond = _beyond(expressions[place:end], values, descending=key.descending, reached=reached)
        found.append(Branch((*prefix, beyond), frozenset(same), frozenset({place})))
        for each, value in zip(range(place, end), values, strict=True):
            if keys[each].nullable and not keys[each].nulls_first:
                found.append(Branch((*prefix, expressions[each].is_(None)), frozenset({*same, each})))
            prefix.append(expressions[each] == value)
            same.add(each)
        place = end
    return found


def nothing() -> Branch:
    """Return a branch without rows."""
    return Branch((literal_column("1") == literal_column("0"),))


def _run(keys: Sequence[Key], nulls: Sequence[bool], start: int) -> int:
    end = start + 1
    while end < len(keys) and not nulls[end] and keys[end].descending == keys[start].descending:
        end += 1
    return end


def _beyond(expressions: Sequence[Any], values: Sequence[Any], *, descending: bool, reached: bool) -> ColumnElement[bool]:
    left: Any = expressions[0] if len(expressions) == 1 else tuple_(*expressions)
    right: Any = values[0] if len(values) == 1 else tuple_(*values)
    if descending:
        found: ColumnElement[bool] = left <= right if reached else left < right
    else:
        found = left >= right if reached else left > right
    return found

"""Isolating: write all good rows of a chunk and find every bad one, in as few tries as there are bad rows.

The whole is tried under a savepoint. What is refused names its row (or the key that several rows share); the rows before it
and those after it are tried again. Rows before a named line are not proven good: COPY writes index entries late, so a
unique key of row 50 may be refused after a NULL in row 70. Only where nothing names the row, the range is halved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol

from dal.bulk.refusal import Refused
from dal.bulk.wire import Wire

__all__ = ["BUDGET", "Attempt", "isolate"]

BUDGET = 16
"""Tries that may fail before the server is asked to sift the rest: each costs some round trips."""


class Attempt(Protocol):
    """Rows that can be written, a range of them at a time."""

    def __len__(self) -> int: ...

    def write(self, start: int, stop: int) -> None:
        """Write a range of rows.

        Raises:
            Refused: One was refused.
        """
        ...

    def matching(self, start: int, stop: int, key: tuple[Sequence[str], str]) -> Sequence[int]:
        """Return the rows of a range that have a key."""
        ...


def isolate(
    wire: Wire,
    attempt: Attempt,
    reject: Callable[[int, Refused], Any],
    *,
    immediate: bool,
    rest: Callable[[Sequence[int]], Any] | None = None,
    first: Refused | None = None,
    budget: int = BUDGET,
) -> None:
    """Write all rows that can be written.

    Args:
        wire: The connection.
        attempt: The rows.
        reject: Called with the place of each row that cannot, and why. What it raises ends the call.
        immediate: Whether the table has constraints that would be checked at COMMIT only, where no row is named.
        rest: Called with the places of all rows that are left, once too many tries have failed.
        first: What came of a try of the whole, where the caller has made one and taken it back.
        budget: How many tries may fail before `rest` is called.
    """
    ranges, failed = [(0, len(attempt))], 0
    if first is not None:
        ranges, failed = _cut(attempt, 0, len(attempt), first, reject), 1
    while ranges:
        if rest is not None and failed > budget:
            rest([index for start, stop in reversed(ranges) for index in range(start, stop)])
            return
        start, stop = ranges.pop()
        if start >= stop:
            continue
        wire.savepoint()
        try:
            attempt.write(start, stop)
            if immediate:
                _check_now(wire, attempt)
        except Refused as refused:
            wire.undo()
            failed += 1
            ranges += _cut(attempt, start, stop, refused, reject)
        else:
            wire.release()


def _cut(
    attempt: Attempt, start: int, stop: int, refused: Refused, reject: Callable[[int, Refused], Any]
) -> list[tuple[int, int]]:
    """Return the ranges that are left of one that was refused, the first of them last."""
    bad = _bad_ones(attempt, start, stop, refused)
    if not bad:
        middle = (start + stop) // 2
        return [(middle, stop), (start, middle)]
    for index in bad:
        reject(index, refused)
    edges = [start - 1, *bad, stop]
    return [(one + 1, other) for one, other in reversed(list(pairwise(edges)))]


def _bad_ones(attempt: Attempt, start: int, stop: int, refused: Refused) -> Sequence[int]:
    if refused.index is not None and start + refused.index < stop:
        return [start + refused.index]
    found = attempt.matching(start, stop, refused.key) if refused.key is not None else []
    return found or ([start] if stop - start == 1 else [])


def _check_now(wire: Wire, attempt: Attempt) -> None:
    from sqlalchemy.exc import DBAPIError

    from dal.bulk.refusal import of_error

    try:
        wire.run("SET CONSTRAINTS ALL IMMEDIATE")
    except DBAPIError as error:
        refused = of_error(error, attempt.plan)  # type: ignore[attr-defined]
        if refused is None:
            raise
        raise refused from error

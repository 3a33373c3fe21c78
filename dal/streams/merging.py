"""Joined inheritance: the rows of an object's tables become one change of that object.

Rows are matched by key within a transaction, whatever order the unit of work sent them in. An update that touched only one of
the tables has only that table's attributes in `new`.
"""

from __future__ import annotations

from typing import Any

from dal.streams.change import Change
from dal.streams.readers import Reader

__all__ = ["Merging"]


class _Half:
    __slots__ = ("change", "own", "seen")

    def __init__(self, reader: Reader, change: Change) -> None:
        self.change, self.own, self.seen = change, reader.own, {reader.table}


class Merging:
    """Collects the changes of one transaction."""

    def __init__(self) -> None:
        self._halves: list[_Half] = []
        self._open: dict[tuple[int, Any], _Half] = {}

    def clear(self) -> None:
        """Forget what was collected."""
        self._halves.clear()
        self._open.clear()

    def add(self, reader: Reader, change: Change) -> None:
        """Take in one row.

        Args:
            reader: Who read it.
            change: The change as its table alone tells it.
        """
        place = (id(reader.shape), change.key)
        half = self._open.get(place) if reader.shape.joined and change.kind != "truncate" else None
        if half is None or half.change.kind != change.kind or reader.table in half.seen:
            half = self._open[place] = _Half(reader, change)
            self._halves.append(half)
            return
        half.seen.add(reader.table)
        half.own = half.own or reader.own
        into = half.change
        into.old = _united(into.old, change.old)
        into.new = _united(into.new, change.new)
        if reader.shape.discriminator(reader.table) is not None and change.kind != "delete":
            into.entity = change.entity
        if reader.own:
            into.table = change.table

    def merged(self) -> list[Change]:
        """Return the transaction's changes and forget them; a row of the base that is no object of the class is left out."""
        found = [half.change for half in self._halves if half.own or half.change.kind == "update"]
        self.clear()
        for change in found:
            change._transaction.count += 1
            change._sequence = change._transaction.count
        return found


def _united(first: dict[str, Any] | None, second: dict[str, Any] | None) -> dict[str, Any] | None:
    return second if first is None else first if second is None else {**first, **second}

"""Sending rows by COPY: the rows of one group into one table, or into the tables of joined inheritance one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import DBAPIError

from dal.bulk.arrow import Lines, lines
from dal.bulk.context import Context
from dal.bulk.keyed import taken
from dal.bulk.plan import BadValue, ColumnPlan
from dal.bulk.refusal import of_bad_row, of_bad_value, of_error
from dal.bulk.rows import Group
from dal.bulk.wire import BadRow, Copying

__all__ = ["Destination", "Sending", "copy_statement", "with_positions"]

_BLOCK = 256 * 1024


@dataclass(frozen=True)
class Destination:
    """Where one COPY goes.

    Args:
        table: The table's quoted name.
        plan: Its columns.
        places: Where their values are in a row, or None where a row is just these.
        leading: Quoted columns before those of the plan, of int8: the position in a staging table.
    """

    table: str
    plan: ColumnPlan
    places: Sequence[int] | None = None
    leading: tuple[str, ...] = ()

    @property
    def wire(self) -> list[str]:
        """Psycopg's names of the types of all columns."""
        return ["int8"] * len(self.leading) + self.plan.wire


def copy_statement(context: Context, destination: Destination, *, binary: bool) -> str:
    """Return the COPY for a destination."""
    plan = destination.plan
    names = [*destination.leading, *context.quoted(planned.column for planned in plan.columns)]
    options = "(FORMAT binary)" if binary else "(FORMAT text)"
    return f"COPY {destination.table} ({', '.join(names)}) FROM STDIN {options}"


def with_positions(positions: Sequence[int], rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows with their positions before them."""
    return [(position, *row) for position, row in zip(positions, rows, strict=True)]


class Sending:
    """The rows of a group on their way; an `Attempt` for `isolate`.

    Args:
        context: The call.
        destinations: Where they go; several for joined inheritance.
        group: The rows.
        staged: Whether the position of each row stands before it.
    """

    def __init__(self, context: Context, destinations: Sequence[Destination], group: Group, *, staged: bool = False) -> None:
        self.plan = destinations[0].plan
        self._context = context
        self._destinations = destinations
        self._group = group
        self._staged = staged
        self._lines: Lines | None = None
        self._converted: dict[str, list[tuple[Any, ...]]] = {}
        if group.batch is not None and len(destinations) == 1:
            self._lines = lines(group, self.plan, leading=group.positions if staged else None)

    def __len__(self) -> int:
        return len(self._group.values)

    def write(self, start: int, stop: int) -> None:
        """Write a range of rows.

        Raises:
            Refused: One was refused.
        """
        for destination in self._destinations:
            if self._lines is not None:
                self._copy_lines(destination, self._lines.block(start, stop))
            else:
                self._copy_rows(destination, start, stop)

    def matching(self, start: int, stop: int, key: tuple[Sequence[str], str]) -> Sequence[int]:
        """Return the rows of a range that have a key, by the text the server shows of it."""
        columns, text = key
        places = [self._place_of(column) for column in columns]
        if any(place is None for place in places):
            return []
        rows = enumerate(self._group.values[start:stop], start)
        return [index for index, row in rows if ", ".join(str(row[place]) for place in places if place is not None) == text]

    def _place_of(self, column: str) -> int | None:
        for destination in self._destinations:
            for planned in destination.plan.columns:
                if planned.column.name == column:
                    return self._group.names.index(planned.name)
        return None

    def _copy_rows(self, destination: Destination, start: int, stop: int) -> None:
        plan, places = destination.plan, destination.places
        rows = self._converted.get(destination.table)
        if rows is not None:
            rows = rows[start:stop]
        else:
            given = self._group.values[start:stop] if stop - start < len(self) else self._group.values
            try:
                rows = plan.converted(list(given) if places is None else taken(given, places))
            except BadValue as error:
                raise of_bad_value(error) from error
            if len(rows) == len(self):
                self._converted[destination.table] = rows
        if self._staged:
            rows = with_positions(self._group.positions[start:stop], rows)
        try:
            with self._copying(destination, destination.wire, binary=plan.binary) as copying:
                copying.write_rows(rows)
        except BadRow as error:
            bad = rows[error.index]
            raise of_bad_row(error, plan, bad[len(bad) - len(plan.columns) :]) from error

    def _copy_lines(self, destination: Destination, block: memoryview) -> None:
        with self._copying(destination, (), binary=False) as copying:
            for start in range(0, len(block), _BLOCK):
                copying.write(block[start : start + _BLOCK])

    @contextmanager
    def _copying(self, destination: Destination, wire: Sequence[str], *, binary: bool) -> Iterator[Copying]:
        try:
            with self._context.wire.copy(copy_statement(self._context, destination, binary=binary), wire) as copying:
                yield copying
        except DBAPIError as error:
            refused = of_error(error, destination.plan)
            if refused is None:
                raise
            raise refused from error

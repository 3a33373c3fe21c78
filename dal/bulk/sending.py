"""Sending rows by COPY: the rows of one group into one table, or into the tables of joined inheritance one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import DBAPIError

from dal.bulk.context import Context
from dal.bulk.plan import BadValue, ColumnPlan
from dal.bulk.refusal import of_bad_row, of_bad_value, of_error
from dal.bulk.wire import BadRow

__all__ = ["Destination", "Sending", "copy_statement"]

Rows = list[tuple[Any, ...]]


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


def copy_statement(context: Context, destination: Destination) -> str:
    """Return the COPY for a destination."""
    plan = destination.plan
    names = [*destination.leading, *context.quoted(planned.column for planned in plan.columns)]
    options = "(FORMAT binary)" if plan.binary else "(FORMAT text)"
    return f"COPY {destination.table} ({', '.join(names)}) FROM STDIN {options}"


class Sending:
    """The rows of a group on their way; an `Attempt` for `isolate`.

    Args:
        context: The call.
        destinations: Where they go; several for joined inheritance.
        names: The attributes, in the order of a row's values.
        values: The rows.
        leading: What stands before each row: its position.
    """

    def __init__(
        self,
        context: Context,
        destinations: Sequence[Destination],
        names: Sequence[str],
        values: Rows,
        leading: Sequence[int] | None = None,
    ) -> None:
        self.plan = destinations[0].plan
        self._context = context
        self._destinations = destinations
        self._names = names
        self._values = values
        self._leading = leading

    def __len__(self) -> int:
        return len(self._values)

    def write(self, start: int, stop: int) -> None:
        """Write a range of rows.

        Raises:
            Refused: One was refused.
        """
        whole = start == 0 and stop == len(self._values)
        values = self._values if whole else self._values[start:stop]
        for destination in self._destinations:
            self._copy(destination, values, start)

    def matching(self, start: int, stop: int, key: tuple[Sequence[str], str]) -> Sequence[int]:
        """Return the rows of a range that have a key, by the text the server shows of it."""
        columns, text = key
        places = [self._place_of(column) for column in columns]
        if any(place is None for place in places):
            return []
        rows = enumerate(self._values[start:stop], start)
        return [index for index, row in rows if ", ".join(str(row[place]) for place in places if place is not None) == text]

    def _place_of(self, column: str) -> int | None:
        for destination in self._destinations:
            for planned in destination.plan.columns:
                if planned.column.name == column:
                    return self._names.index(planned.name)
        return None

    def _copy(self, destination: Destination, values: Rows, start: int) -> None:
        plan, places = destination.plan, destination.places
        rows = values if places is None else [tuple(row[place] for place in places) for row in values]
        try:
            rows = plan.converted(rows)
        except BadValue as error:
            raise of_bad_value(error) from error
        wire = plan.wire
        if self._leading is not None:
            rows = [(place, *row) for place, row in zip(self._leading[start : start + len(rows)], rows, strict=True)]
            wire = ["int8", *wire]
        try:
            with self._context.wire.copy(copy_statement(self._context, destination), wire) as copying:
                copying.write_rows(rows)
        except BadRow as error:
            bad = rows[error.index]
            raise of_bad_row(error, plan, bad[len(bad) - len(plan.columns) :]) from error
        except DBAPIError as error:
            refused = of_error(error, plan)
            if refused is None:
                raise
            raise refused from error

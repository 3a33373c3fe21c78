"""ColumnPlan: how rows of one shape become rows of the wire, column by column.

A shape is the set of attributes that a row carries. The plan adds what the row does not carry and Python has to give
(defaults, the discriminator, ids taken from a sequence), leaves out what the server gives, runs the bind processors of
the mapping (TypeDecorator, Enum, ranges), and turns values that binary COPY would not take.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from types import NoneType
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Dialect, LargeBinary, Null
from sqlalchemy.dialects import postgresql

from dal.bulk.catalog import ColumnFacts
from dal.bulk.values import ANY, Kind

__all__ = ["BadValue", "ColumnPlan", "PlannedColumn", "bind_of", "binds_of"]

Convert = Callable[[Any], Any]


class BadValue(Exception):
    """A value that its column does not take.

    Args:
        index: The row's place among those converted.
        column: The attribute.
        value: The value.
        error: Why.
    """

    def __init__(self, index: int, column: str, value: Any, error: Exception) -> None:
        super().__init__(index, column, value, error)
        self.index = index
        self.column = column
        self.value = value
        self.error = error


@dataclass(frozen=True)
class PlannedColumn:
    """One column of a plan.

    Args:
        name: The attribute's name.
        column: The column of the mapping.
        facts: What the catalog says of it.
        kind: How its values are sent.
        bind: The mapping's bind processor, or None where values go as they are.
        binds: The types of values it changes; None for all.
    """

    name: str
    column: Column[Any]
    facts: ColumnFacts
    kind: Kind
    bind: Convert | None = None
    binds: frozenset[type] | None = None

    def converted(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return values as psycopg takes them.

        Args:
            values: One for each row.

        Raises:
            BadValue: A value is not one of the column's.
        """
        if self.bind is not None and (self.binds is None or not self.binds.isdisjoint(map(type, values))):
            values = self._each(values, self.bind)
        if self.kind.takes is ANY:
            return values
        types = set(map(type, values))
        if not types <= self.kind.takes and (self.kind.whole is None or not self.kind.whole(types, values)):
            values = self._each(values, self._turned)
        if self.kind.bounds is not None:
            self._check_bounds(values, *self.kind.bounds)
        return values

    def read(self, text: str) -> Any:
        """Turn text, such as a field of a CSV file, into a value that `converted` takes.

        Raises:
            ValueError: It is none.
        """
        return self.kind.read(text)

    def _check_bounds(self, values: Sequence[Any], low: float, high: float) -> None:
        present = values if None not in values else [value for value in values if value is not None]
        # Comparisons with NaN are all false, and it may hide what is beside it: min() and max() are for whole numbers.
        if self.kind.wire == "float4":
            fits = all(low <= value <= high or not math.isfinite(value) for value in present)
        else:
            fits = not present or (min(present) >= low and max(present) <= high)
        if not fits:
            index = next(
                at for at, value in enumerate(values) if value is not None and math.isfinite(value) and not low <= value <= high
            )
            raise BadValue(
                index, self.name, values[index], ValueError(f"{values[index]} is out of range for {self.facts.type}")
            )

    def _turned(self, value: Any) -> Any:
        return value if type(value) in self.kind.takes else self.kind.turn(value)

    def _each(self, values: Sequence[Any], convert: Convert) -> list[Any]:
        done: list[Any] = []
        try:
            done.extend(map(convert, values))
        except Exception as error:
            # What came before was converted: the one after it is at fault.
            index = len(done)
            raise BadValue(index, self.name, values[index], error) from error
        return done


@dataclass(frozen=True)
class ColumnPlan:
    """The columns that rows of one shape are written to, in order.

    Args:
        columns: The columns.
    """

    columns: tuple[PlannedColumn, ...]

    @property
    def binary(self) -> bool:
        """Whether psycopg encodes all of them in binary form."""
        return all(planned.kind.binary for planned in self.columns)

    @property
    def wire(self) -> list[str]:
        """Psycopg's names of their types."""
        return [planned.kind.wire for planned in self.columns]

    def index(self, name: str) -> int:
        """Return the place of an attribute."""
        return next(at for at, planned in enumerate(self.columns) if planned.name == name)

    def only(self, names: Sequence[str]) -> ColumnPlan:
        """Return a plan of some of the columns, in the order of the names."""
        return ColumnPlan(tuple(self.columns[self.index(name)] for name in names))

    def renamed(self, columns: Sequence[Column[Any]]) -> ColumnPlan:
        """Return the same plan for the columns of another table."""
        return ColumnPlan(tuple(replace(planned, column=column) for planned, column in zip(self.columns, columns, strict=True)))

    def columned(self, rows: Sequence[tuple[Any, ...]]) -> list[Sequence[Any]]:
        """Return the values of each column as psycopg takes them.

        Args:
            rows: Values in the order of the columns; any number.

        Raises:
            BadValue: A value is not one of its column's.
        """
        return [planned.converted(list(map(itemgetter(at), rows))) for at, planned in enumerate(self.columns)]

    def converted(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Return rows as psycopg takes them.

        Args:
            rows: Values in the order of the columns.

        Raises:
            BadValue: A value is not one of its column's.
        """
        if not rows:
            return rows
        # For few rows this is the fastest way to columns; for many, see `columned`.
        given = list(zip(*rows, strict=True))
        made = [planned.converted(values) for planned, values in zip(self.columns, given, strict=True)]
        if all(one is other for one, other in zip(made, given, strict=True)):
            return rows
        return list(zip(*made, strict=True))


def bind_of(column: Column[Any], facts: ColumnFacts, dialect: Dialect) -> Convert | None:
    """Return what turns a value of a mapping's type into one of psycopg's, or None where they are the same.

    Args:
        column: The column.
        facts: What the catalog says of it.
        dialect: The dialect.
    """
    if type(column.type) in _PLAIN_JSON:
        plain: Any = column.type
        return _json_or_null if plain.none_as_null else _json
    if isinstance(column.type, LargeBinary) or (isinstance(column.type, Boolean) and facts.type == "bool"):
        # It only wraps or checks what is wrapped and checked here.
        return None
    processor: Any = column.type.dialect_impl(dialect).bind_processor(dialect)
    found: Convert | None = processor
    return found


def binds_of(column: Column[Any]) -> frozenset[type] | None:
    """Return the types of values that `bind_of` has something to do with, or None for all."""
    return _NULLS if type(column.type) in _PLAIN_JSON else None


# psycopg encodes JSON by the column's type; only what is null needs a word. SQLAlchemy's processor would wrap each value.
_PLAIN_JSON = frozenset({JSON, postgresql.JSON, postgresql.JSONB})
_NULLS: frozenset[type] = frozenset({NoneType, Null, type(JSON.NULL)})


def _json(value: Any) -> Any:
    return _json_null() if value is None or value is JSON.NULL else _json_or_null(value)


def _json_or_null(value: Any) -> Any:
    if value is JSON.NULL:
        return _json_null()
    return None if isinstance(value, Null) else value


def _json_null() -> Any:
    from psycopg.types.json import Jsonb

    return Jsonb(None)

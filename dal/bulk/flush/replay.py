"""Replay: a connection that answers INSERTs whose rows are in the table already, as the database would have answered them.

SQLAlchemy's own code then does what it does after any INSERT: ids and defaults become attributes, what was not returned is
expired, ids go on to the tables of joined inheritance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Dialect, Table
from sqlalchemy.orm.exc import FlushError

from dal.bulk.context import Context
from dal.bulk.flush.completing import Completed
from dal.bulk.unnest import arrays_of, unnested

__all__ = ["Replay"]

_ORDER = "dal_n"


@dataclass(frozen=True)
class _Executed:
    """What SQLAlchemy reads of an execution's context."""

    compiled: Any
    compiled_parameters: Sequence[dict[str, Any]]
    executemany: bool
    isinsert: bool = True


@dataclass(frozen=True)
class _Result:
    """What SQLAlchemy reads of the result of an INSERT."""

    context: _Executed
    inserted_primary_key_rows: Sequence[tuple[Any, ...]]
    returned_defaults_rows: Sequence[tuple[Any, ...]] | None

    @property
    def inserted_primary_key(self) -> tuple[Any, ...]:
        return self.inserted_primary_key_rows[0]

    @property
    def returned_defaults(self) -> tuple[Any, ...] | None:
        return None if self.returned_defaults_rows is None else self.returned_defaults_rows[0]


class Replay:
    """What stands for the connection.

    Args:
        context: The call.
        table: The table.
        rows: The rows that were sent.
    """

    def __init__(self, context: Context, table: Table, rows: Completed) -> None:
        self._context = context
        self._table = table
        self._rows = rows
        self._place = 0
        self._compiled: dict[Any, Any] = {}
        self._read: dict[str, Sequence[Any]] = {}

    @property
    def dialect(self) -> Dialect:
        """The connection's."""
        return self._context.connection.dialect

    def execute(self, statement: Any, parameters: Any, execution_options: Any = None) -> _Result:
        """Answer an INSERT of the next rows.

        Args:
            statement: The INSERT.
            parameters: A list of dicts, or a dict.
            execution_options: SQLAlchemy's.
        """
        number = len(parameters) if isinstance(parameters, list) else 1
        keys = tuple(sorted(parameters[0] if isinstance(parameters, list) else parameters))
        start, self._place = self._place, self._place + number
        compiled = self._compile(statement, keys, many=number > 1)
        executed = _Executed(compiled, self._rows.given[start : self._place], number > 1)
        returned = compiled.effective_returning
        rows = self._of(returned, start, self._place) if returned else None
        return _Result(executed, self._of(list(self._table.primary_key), start, self._place), rows)

    def _compile(self, statement: Any, keys: tuple[str, ...], *, many: bool) -> Any:
        if (keys, many) not in self._compiled:
            made = statement.compile(dialect=self.dialect, column_keys=list(keys), for_executemany=many)
            self._compiled[keys, many] = made
        return self._compiled[keys, many]

    def _of(self, columns: Sequence[Column[Any]], start: int, stop: int) -> Sequence[tuple[Any, ...]]:
        """Return the values of columns in some rows."""
        self._read_back([column for column in columns if not self._rows.knows(column.key, start, stop)])
        values = [self._values(column.key, start, stop) for column in columns]
        return list(zip(*values, strict=True)) if values else [()] * (stop - start)

    def _values(self, key: str, start: int, stop: int) -> Sequence[Any]:
        read = self._read.get(key)
        return self._rows.values(key, start, stop) if read is None else read[start:stop]

    def _read_back(self, columns: Sequence[Column[Any]]) -> None:
        """Read what only the server knows, of all rows at once, by their keys."""
        lacking = [column for column in columns if column.key not in self._read]
        if not lacking:
            return
        context, plan, rows = self._context, self._rows.plan, self._rows.wire_rows
        places = [plan.index(column.key) for column in self._table.primary_key]
        names = context.quoted(self._table.primary_key)
        keys = plan.only([column.key for column in self._table.primary_key])
        given = unnested(keys, names, _ORDER)
        wanted = ", ".join(f"t.{name}" for name in context.quoted(lacking))
        match = " AND ".join(f"t.{name} = given.{name}" for name in names)
        sql = f"SELECT {wanted} FROM ({given}) AS given JOIN {context.table()} AS t ON {match} ORDER BY given.{_ORDER}"
        arrays = arrays_of(keys, [tuple(row[place] for place in places) for row in rows], context.wire.driver)
        found = context.wire.fetch(sql, arrays)
        if len(found) != len(rows):
            raise FlushError(f"of {len(rows)} rows copied into {self._table.fullname}, {len(found)} are there")
        for column, values in zip(lacking, zip(*found, strict=True), strict=True):
            self._read[column.key] = self._rows.loaded(column, values)

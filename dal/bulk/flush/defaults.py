"""Defaults: those of columns in Python, called as SQLAlchemy calls them; those in SQL, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Connection, Dialect, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.expression import SelectBase
from sqlalchemy.sql.visitors import iterate

from dal.bulk.context import Context
from dal.bulk.flush.report import Ordinary

__all__ = ["Defaults", "clause_of", "is_called"]


def is_called(column: Column[Any]) -> bool:
    """Tell whether a column has a default in Python."""
    default: Any = column.default
    return default is not None and (default.is_callable or default.is_scalar)


def clause_of(column: Column[Any], connection: Connection) -> str | None:
    """Return the default of a column that SQLAlchemy would write into the INSERT as SQL, or None.

    Raises:
        Ordinary: It cannot be asked for apart from the INSERT.
    """
    default: Any = column.default
    if default is None or is_called(column):
        return None
    where = f"the default of {column.table.name}.{column.name}"
    if default.is_sequence:
        if default.optional and connection.dialect.sequences_optional:
            return None
        expression = default.next_value()
        if connection.get_execution_options().get("schema_translate_map"):
            raise Ordinary(f"{where} is a sequence, in a schema that is translated")
    elif default.is_clause_element:
        expression = default.arg
        if any(isinstance(each, (Column, SelectBase)) for each in iterate(expression)):
            raise Ordinary(f"{where} reads tables")
    else:
        raise Ordinary(f"{where} is a sentinel, or of a kind of its own")
    try:
        return str(expression.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
    except SQLAlchemyError as error:
        raise Ordinary(f"{where} has values that cannot be written as text") from error


class Defaults:
    """What a default in Python is called with: SQLAlchemy's execution context, as far as one has a use for it.

    Args:
        context: The call.
    """

    def __init__(self, context: Context) -> None:
        self.connection: Connection = context.connection
        self.root_connection: Connection = context.connection
        self.engine: Engine = context.connection.engine
        self.dialect: Dialect = context.connection.dialect
        self.isinsert = True
        self.isupdate = False
        self.executemany = True
        self.current_parameters: dict[str, Any] = {}
        self.current_column: Column[Any] | None = None

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> dict[str, Any]:
        """Return the values of the row whose default is called."""
        return self.current_parameters

    def called(self, columns: Sequence[Column[Any]], params: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Call defaults.

        Args:
            columns: Columns that have one.
            params: What each row has.

        Returns:
            The same with the defaults of what it had not.
        """
        made: list[tuple[Column[Any], str, Any]] = [(column, column.key, column.default) for column in columns]
        done = []
        for given in params:
            lacking = [each for each in made if each[1] not in given]
            row = self.current_parameters = {**given, **dict.fromkeys((key for _, key, _ in lacking), None)}
            for column, key, default in lacking:
                self.current_column = column
                row[key] = default.arg(self) if default.is_callable else default.arg
            done.append(row)
        return done

"""The names and types of what a statement gives: by its columns, or, of SQL text, by what the server says of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    Connection,
    Date,
    DateTime,
    Double,
    Integer,
    LargeBinary,
    Numeric,
    Select,
    SmallInteger,
    String,
    TextClause,
    Time,
    text,
)
from sqlalchemy.types import TypeEngine

from dal.errors import UsageError

__all__ = ["columns_of"]

_OIDS: dict[int, TypeEngine[Any]] = {
    16: Boolean(),
    17: LargeBinary(),
    20: BigInteger(),
    21: SmallInteger(),
    23: Integer(),
    700: REAL(),
    701: Double(),
    1082: Date(),
    1083: Time(),
    1114: DateTime(),
    1184: DateTime(timezone=True),
}
_NUMERIC = 1700


def columns_of(
    connection: Connection, statement: Select[*tuple[Any, ...]] | TextClause
) -> tuple[list[str], list[TypeEngine[Any]]]:
    """Return the names and types of the columns of a statement.

    Args:
        connection: Where SQL text is described.
        statement: A `select()` or SQL text.

    Raises:
        UsageError: Two columns have one name.
    """
    if isinstance(statement, Select):
        columns = list(statement.selected_columns)
        names = [f"column_{at}" if column.key is None else str(column.key) for at, column in enumerate(columns, 1)]
        types = [column.type for column in columns]
    else:
        empty = text(f"SELECT * FROM ({statement.text}) AS r WHERE 1 = 0")
        cursor: Any = connection.execute(empty).cursor
        described = cursor.description
        names = [column[0] for column in described]
        types = [_type_of(column) for column in described]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two columns are called {twice}", hint="name them: Flight.id.label('flight_id')")
    return names, types


def _type_of(described: Any) -> TypeEngine[Any]:
    if described[1] == _NUMERIC and described[4]:
        return Numeric(described[4], described[5])
    return _OIDS.get(described[1], String())

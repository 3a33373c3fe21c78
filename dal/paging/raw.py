"""Key values as the driver gives and takes them, past the Python side of column types.

What is compared with a column has to be what the column holds, to the last bit: a type that turns values into something
of its own, rounds them (Numeric on SQLite) or prints them short (a 4-byte float) would make a page start at another row.
So a key is selected and bound without result and bind processors, and floats as the 8 bytes the server computes with.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Dialect, Double, Enum, Float, cast, literal_column, type_coerce
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

__all__ = ["cast_of", "comparable", "compared", "parameter", "parameter_name", "plain_type", "raw"]


class _Raw(UserDefinedType[Any]):
    """A type that leaves values as they are."""

    cache_ok = True


RAW = _Raw()


def plain_type(kind: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    """Return the type behind decorators and variants."""
    while isinstance(kind, TypeDecorator):
        kind = kind.load_dialect_impl(dialect)
    return kind


def comparable(expression: ColumnElement[Any], dialect: Dialect) -> ColumnElement[Any]:
    """Return an expression that compares as it is ordered: MariaDB orders an ENUM by place and compares it by text."""
    kind = plain_type(expression.type, dialect)
    if dialect.name in {"mysql", "mariadb"} and isinstance(kind, Enum) and kind.native_enum:
        return type_coerce(expression, RAW).op("+")(literal_column("0"))
    return expression


def raw(expression: ColumnElement[Any], dialect: Dialect) -> ColumnElement[Any]:
    """Return an expression whose value is what the database holds."""
    kind = plain_type(expression.type, dialect)
    if isinstance(kind, Float):
        if dialect.name == "postgresql":
            return type_coerce(cast(type_coerce(expression, RAW), Double), RAW)
        if dialect.name in {"mysql", "mariadb"}:
            return type_coerce(type_coerce(expression, RAW).op("+")(literal_column("0e0")), RAW)
    return type_coerce(expression, RAW)


def compared(expression: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return an expression that is compared with such values, so that an index on it serves."""
    return type_coerce(expression, RAW)


def parameter(place: int, kind: TypeEngine[Any] | None = None) -> ColumnElement[Any]:
    """Return the parameter of a position's value, which goes to the driver as it is.

    Args:
        place: The place of its key.
        kind: What to cast it to, where the database does not compare what the driver makes of it; see `cast_of`.
    """
    value: BindParameter[Any] = BindParameter(parameter_name(place), type_=RAW)
    return value if kind is None else cast(value, kind)


def cast_of(expression: ColumnElement[Any], dialect: Dialect) -> TypeEngine[Any] | None:
    """Return what values of an expression have to be cast to: PostgreSQL compares arrays of the very same type only."""
    kind = plain_type(expression.type, dialect)
    return kind if isinstance(kind, ARRAY) else None


def parameter_name(place: int) -> str:
    """Return what the parameter of a position's value is called."""
    return f"dal_value_{place}"

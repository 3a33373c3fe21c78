"""The private names of SQLAlchemy that parallel scans read, each with the public way that replaces it when it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import FromClause, ScalarResult, Select, literal_column
from sqlalchemy.sql.expression import ColumnClause, ColumnElement

__all__ = ["ctid_of", "grouping", "has_options", "is_distinct", "is_limited", "is_locking", "needs_unique"]


def is_limited(statement: Select[Any]) -> bool:
    """Tell whether a statement has LIMIT, OFFSET or FETCH."""
    return bool(getattr(statement, "_has_row_limiting_clause", False))


def is_distinct(statement: Select[Any]) -> bool:
    """Tell whether a statement is a SELECT DISTINCT."""
    return bool(getattr(statement, "_distinct", False))


def is_locking(statement: Select[Any]) -> bool:
    """Tell whether a statement is a SELECT FOR UPDATE or the like."""
    return getattr(statement, "_for_update_arg", None) is not None


def has_options(statement: Select[Any]) -> bool:
    """Tell whether a statement has ORM options."""
    return bool(getattr(statement, "_with_options", ()))


def grouping(statement: Select[Any]) -> Sequence[ColumnElement[Any]]:
    """Return what a statement groups by."""
    return tuple(getattr(statement, "_group_by_clauses", ()))


def needs_unique(result: ScalarResult[Any]) -> bool:
    """Tell whether a joined collection made the rows repeat their entity, so that `unique()` has to be called."""
    return getattr(result, "_unique_filter_state", True) is not None


def ctid_of(table: FromClause) -> ColumnElement[Any]:
    """Make the system column that says where a row lies in its table; it belongs to the table, under whatever alias."""
    try:
        return ColumnClause("ctid", _selectable=table)
    except TypeError:
        return literal_column(f"{getattr(table, 'name', table)}.ctid")

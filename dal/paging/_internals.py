"""The private names of SQLAlchemy that paging reads, each with the public way that replaces it when it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import LoaderCriteriaOption
from sqlalchemy.sql.visitors import iterate

__all__ = ["cache_key", "distinct_on", "group_by", "limited", "options_of", "order_by", "where_clauses", "without_loading"]


def order_by(statement: Select[Any]) -> Sequence[Any]:
    """Return the ORDER BY of a statement."""
    return tuple(getattr(statement, "_order_by_clauses", ()))


def group_by(statement: Select[Any]) -> Sequence[Any]:
    """Return the GROUP BY of a statement."""
    return tuple(getattr(statement, "_group_by_clauses", ()))


def distinct_on(statement: Select[Any]) -> tuple[bool, Sequence[Any]]:
    """Return whether a statement is DISTINCT, and on what where it says so."""
    on = tuple(getattr(statement, "_distinct_on", ()))
    extension = getattr(statement, "_pre_columns_clause", None)
    if extension is not None and not on:
        on = tuple(part for each in iterate(extension) for part in getattr(each, "_distinct_on", ()))
    return bool(getattr(statement, "_distinct", False)), on


def limited(statement: Select[Any]) -> bool:
    """Tell whether a statement has a LIMIT, an OFFSET or a FETCH of its own."""
    names = ("_limit_clause", "_offset_clause", "_fetch_clause")
    return any(getattr(statement, name, None) is not None for name in names)


def where_clauses(statement: Select[Any]) -> Sequence[Any]:
    """Return the conditions of a statement's WHERE."""
    clauses = getattr(statement, "_where_criteria", None)
    if clauses is None:
        return () if statement.whereclause is None else (statement.whereclause,)
    return tuple(clauses)


def options_of(statement: Select[Any]) -> tuple[Any, ...]:
    """Return the options of a statement."""
    return tuple(getattr(statement, "_with_options", ()))


def without_loading(statement: Select[Any]) -> Select[Any]:
    """Return a statement without the options that load something, but with those that filter."""
    options = options_of(statement)
    kept = tuple(each for each in options if isinstance(each, LoaderCriteriaOption))
    if len(kept) == len(options):
        return statement
    bare = statement.where()
    bare._with_options = kept
    return bare


def cache_key(statement: Any) -> tuple[Any, Sequence[Any]] | None:
    """Return what is the same for statements that differ in values only, and the values; None where there is no such thing."""
    make = getattr(statement, "_generate_cache_key", None)
    key = None if make is None else make()
    return None if key is None else (key.key, [each.effective_value for each in key.bindparams])

"""The private names of SQLAlchemy that the repository reads, each with the public way that replaces it when it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import FromClause, ScalarResult, Select, inspect

__all__ = ["explicit_froms", "needs_unique", "selected_entity", "where_clauses"]


def needs_unique(result: ScalarResult[Any]) -> bool:
    """Tell whether a joined collection made the rows repeat their entity, so that `unique()` has to be called."""
    return getattr(result, "_unique_filter_state", True) is not None


def selected_entity(statement: Select[Any]) -> Any:
    """Return the mapper or inspected alias that is all a statement selects, or None where it selects anything else."""
    try:
        columns = statement._raw_columns
        annotations = [column._annotations for column in columns if isinstance(column, FromClause)]
    except AttributeError:
        described = statement.column_descriptions
        source = described[0].get("entity")
        return inspect(source) if source is not None and len(described) == 1 and described[0]["expr"] is source else None
    return annotations[0].get("parententity") if len(columns) == len(annotations) == 1 else None


def where_clauses(statement: Select[Any]) -> Sequence[Any]:
    """Return the conditions of a statement's WHERE."""
    try:
        return statement._where_criteria
    except AttributeError:
        return () if statement.whereclause is None else (statement.whereclause,)


def explicit_froms(statement: Select[Any]) -> Sequence[Any]:
    """Return what `select_from()` and `join()` named: tables, joins, relationship attributes; not what a filter implies."""
    try:
        joins = statement._setup_joins
        named = statement._from_obj
    except AttributeError:
        return statement.get_final_froms()
    return [*named, *(part for join in joins for part in join[:2] if part is not None)]

"""The private names of SQLAlchemy that the repository reads, each with the public way that replaces it when it is gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ScalarResult, Select

__all__ = ["explicit_froms", "needs_unique"]


def needs_unique(result: ScalarResult[Any]) -> bool:
    """Tell whether a joined collection made the rows repeat their entity, so that `unique()` has to be called."""
    return getattr(result, "_unique_filter_state", True) is not None


def explicit_froms(statement: Select[Any]) -> Sequence[Any]:
    """Return what `select_from()` and `join()` named: tables, joins, relationship attributes; not what a filter implies."""
    try:
        joins = statement._setup_joins
        named = statement._from_obj
    except AttributeError:
        return statement.get_final_froms()
    return [*named, *(part for join in joins for part in join[:2] if part is not None)]

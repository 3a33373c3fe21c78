"""Complete an order until no two rows agree in it, by primary keys, and find the part of it that finds a row again.

The columns that are added take the direction of the last one written, so that one index serves and row values compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Dialect, Select
from sqlalchemy.sql.elements import ColumnClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import iterate

from dal.errors import UsageError
from dal.paging import _internals
from dal.paging.order import Key, keys_of, naturally_first
from dal.paging.sources import Sources, unique_keys

__all__ = ["completed", "identity_of"]

_AGGREGATES = frozenset({"count", "sum", "min", "max", "avg", "array_agg", "string_agg", "group_concat", "bool_and", "bool_or"})


def completed(
    statement: Select[Any],
    keys: tuple[Key, ...],
    sources: Sources,
    dialect: Dialect,
    given: Sequence[ColumnElement[Any]] | None,
) -> tuple[Key, ...]:
    """Return an order in which no two rows are equal.

    Args:
        statement: The statement.
        keys: Its order as written.
        sources: What it reads from.
        dialect: The database's dialect.
        given: What tells the rows apart, where the caller says so.

    Raises:
        UsageError: Nothing is known that tells the rows apart.
    """
    distinct, on = _internals.distinct_on(statement)
    grouped = _internals.group_by(statement)
    if given is not None:
        return _joined(keys, given, statement, dialect)
    if distinct:
        return _joined(keys, on or _distinct_columns(statement, keys, sources), statement, dialect)
    if grouped:
        return _joined(keys, [each for part in grouped for each in _parts(part)], statement, dialect)
    if any(_aggregates(each) for each in statement.selected_columns):
        return keys
    known = [key.expression for key in keys if isinstance(key.expression, ColumnClause)]
    while True:
        left = sources.undetermined(known)
        if not left:
            return keys
        added = next(iter(unique_keys(left[0])), None)
        if added is None:
            raise UsageError(
                f"nothing is known that tells the rows of {getattr(left[0], 'name', left[0])} apart",
                hint="say what does: get_page(..., key=[its.c.id])",
            )
        known += added
        keys = _joined(keys, added, statement, dialect)


def identity_of(keys: Sequence[Key], sources: Sources) -> tuple[int, ...]:
    """Return the places of the fewest keys, never NULL, that find a row again; empty where there are none."""
    places = [place for place, key in enumerate(keys) if isinstance(key.expression, ColumnClause) and not key.nullable]

    def suffice(chosen: Sequence[int]) -> bool:
        return not sources.undetermined(keys[place].expression for place in chosen)

    if not places or not suffice(places):
        return ()
    for place in list(places):
        fewer = [each for each in places if each != place]
        if fewer and suffice(fewer):
            places = fewer
    return tuple(places)


def _joined(keys: tuple[Key, ...], columns: Sequence[Any], statement: Select[Any], dialect: Dialect) -> tuple[Key, ...]:
    descending = bool(keys) and keys[-1].descending
    added = [
        replace(each, descending=descending, nulls_first=naturally_first(descending, dialect), explicit=False)
        for each in keys_of(columns, statement, dialect)
    ]
    new = [each for each in added if not any(each.expression.compare(key.expression) for key in keys)]
    return (*keys, *new)


def _distinct_columns(statement: Select[Any], keys: Sequence[Key], sources: Sources) -> list[Any]:
    selected = [getattr(each, "element", each) for each in statement.selected_columns]
    plain = {each for each in selected if isinstance(each, ColumnClause)}
    known: set[Any] = set(plain)
    for table in sources.tables:
        whole = next((key for key in unique_keys(table) if known.issuperset(key)), None)
        if whole is not None:
            selected = [each for each in selected if getattr(each, "table", None) is not table or each in whole]
            known.update(table.c)
    for key in keys:
        if not _made_of(key.expression, known) and not any(key.expression.compare(each) for each in selected):
            raise UsageError(
                f"DISTINCT makes rows one that agree in what is selected, and the order {key.expression} is not part of it",
                hint="select it too, or order by something that is selected",
            )
    return selected


def _made_of(expression: Any, known: set[Any]) -> bool:
    columns = [node for node in iterate(expression) if isinstance(node, ColumnClause)]
    return bool(columns) and known.issuperset(columns)


def _parts(part: Any) -> list[Any]:
    """Return the expressions of a group: its own, or those of ROLLUP and its like."""
    return list(part.clauses) if type(part).__name__.lower() in {"rollup", "cube", "grouping_sets"} else [part]


def _aggregates(element: Any) -> bool:
    bare = getattr(element, "element", element)
    return isinstance(bare, FunctionElement) and str(getattr(bare, "name", "")).lower() in _AGGREGATES

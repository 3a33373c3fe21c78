"""What a SELECT reads from: its tables, which of them may be missing in a row, and which columns it sets equal.

From this follows what tells its rows apart. A to-one join adds nothing to that: the row of the other table is determined
by the equality in its ON. A to-many join does: there the primary key of the other table belongs to the order too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    CTE,
    Alias,
    BinaryExpression,
    BindParameter,
    BooleanClauseList,
    ColumnElement,
    CompoundSelect,
    FromClause,
    Join,
    Select,
    Subquery,
    Table,
    UniqueConstraint,
)
from sqlalchemy.orm import lazyload
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import ColumnClause, Null, UnaryExpression

from dal.paging import _internals

__all__ = ["Sources", "sources_of"]


@dataclass(frozen=True)
class Equality:
    """Two columns that a condition sets equal, or one that it sets to a value."""

    left: Any
    right: Any
    only: frozenset[FromClause] | None
    """The tables it says something of; None for all. The ON of an outer join speaks of its outer side only."""

    def gives(self, column: Any, other: Any, known: set[Any]) -> bool:
        """Tell whether it says what a column is, from the other side of it."""
        if not isinstance(column, ColumnClause) or not (self.only is None or column.table in self.only):
            return False
        return not isinstance(other, ColumnClause) or other in known


@dataclass
class Sources:
    """The FROM of a statement.

    Args:
        tables: Tables, aliases and subqueries, in their order.
        missing: Those that an outer join may leave out of a row.
        equalities: What joins and filters set equal.
        not_null: Expressions that a filter says are not NULL.
    """

    tables: list[FromClause] = field(default_factory=list)
    missing: set[FromClause] = field(default_factory=set)
    equalities: list[Equality] = field(default_factory=list)
    not_null: list[ColumnElement[Any]] = field(default_factory=list)

    def undetermined(self, columns: Iterable[Any]) -> list[FromClause]:
        """Return the tables whose row these columns, which may not be NULL where their row is there, do not determine."""
        known = set(columns)
        left = list(self.tables)
        grew = True
        while grew:
            grew = False
            for each in self.equalities:
                for one, other in ((each.left, each.right), (each.right, each.left)):
                    if one not in known and each.gives(one, other, known):
                        known.add(one)
                        grew = True
            for table in list(left):
                if any(known.issuperset(key) for key in unique_keys(table)):
                    left.remove(table)
                    known.update(table.c)
                    grew = True
        return left


def sources_of(statement: Select[Any]) -> Sources:
    """Read the FROM and WHERE of a statement."""
    found = Sources()
    for each in _internals.without_loading(statement).options(lazyload("*")).get_final_froms():
        _read(each, found)
    for clause in _internals.where_clauses(statement):
        _conditions(clause, found, None)
    return found


def unique_keys(table: FromClause) -> Iterator[tuple[Any, ...]]:
    """Yield sets of columns that no two rows of a table agree in: its primary key, unique constraints without NULLs."""
    if isinstance(table, (Subquery, CTE)):
        inner = [tuple(table.corresponding_column(column) for column in key) for key in _rows_of(table.element)]
        yield from (key for key in inner if not any(each is None for each in key))
        return
    if isinstance(table, Alias):
        for key in unique_keys(table.element):
            yield tuple(table.c[column.key] for column in key)
        return
    if not isinstance(table, Table):
        return
    if table.primary_key.columns:
        yield tuple(table.primary_key.columns)
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint) and _all_not_null(constraint.columns):
            yield tuple(constraint.columns)
    for index in table.indexes:
        partial = any(name.endswith("_where") and value is not None for name, value in index.dialect_kwargs.items())
        columns = tuple(index.columns)
        if index.unique and not partial and len(columns) == len(index.expressions) and _all_not_null(columns):
            yield columns


def _all_not_null(columns: Iterable[Any]) -> bool:
    return not any(column.nullable for column in columns)


def _rows_of(element: Any) -> Iterator[tuple[Any, ...]]:
    """Yield what tells the rows of a subquery apart."""
    if isinstance(element, CompoundSelect):
        if str(getattr(element, "keyword", "")).upper().endswith(("UNION", "INTERSECT", "EXCEPT")):
            yield tuple(element.selected_columns)
        return
    if not isinstance(element, Select):
        return
    selected = list(element.selected_columns)
    distinct, on = _internals.distinct_on(element)
    if distinct:
        yield tuple(on or selected)
        return
    grouped = _internals.group_by(element)
    if grouped:
        keys = [next((each for each in selected if _same(each, part)), None) for part in grouped]
        if not any(each is None for each in keys):
            yield tuple(keys)
        return
    sources = sources_of(element)
    if not sources.undetermined(each for each in selected if isinstance(each, ColumnClause)):
        yield tuple(selected)


def _same(one: Any, other: Any) -> bool:
    bare = getattr(one, "element", one)
    return one is other or bool(bare.compare(getattr(other, "element", other)))


def _read(element: Any, found: Sources) -> None:
    if not isinstance(element, Join):
        if isinstance(element, FromClause) and element not in found.tables:
            found.tables.append(element)
        return
    _read(element.left, found)
    before = set(found.tables)
    _read(element.right, found)
    right = set(found.tables) - before
    if element.full:
        found.missing |= set(found.tables)
        return
    if element.isouter:
        found.missing |= right
    if element.onclause is not None:
        _conditions(element.onclause, found, frozenset(right) if element.isouter else None)


def _conditions(clause: Any, found: Sources, only: frozenset[FromClause] | None) -> None:
    element = getattr(clause, "element", clause) if type(clause).__name__ == "Grouping" else clause
    if isinstance(element, BooleanClauseList) and element.operator is operators.and_:
        for each in element.clauses:
            _conditions(each, found, only)
    elif isinstance(element, BinaryExpression):
        if element.operator is operators.eq and _is_value(element.left) and _is_value(element.right):
            found.equalities.append(Equality(element.left, element.right, only))
        elif element.operator is operators.is_not and only is None and isinstance(element.right, Null):
            found.not_null.append(element.left)


def _is_value(element: Any) -> bool:
    return isinstance(element, (ColumnClause, BindParameter)) and not isinstance(element, UnaryExpression)

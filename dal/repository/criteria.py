"""Whether a filter can mean what was written: checked before a statement is sent.

A filter on a table that the statement does not contain would make the database pair every row with every row of that
table, silently. Subqueries, `exists()`, `any()` and `has()` bring their own FROM and are fine; so is the association
table of a many-to-many relationship that `contains()` ties to its entity.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BinaryExpression,
    BindParameter,
    ClauseElement,
    ColumnClause,
    ColumnElement,
    Executable,
    FromClause,
    ScalarSelect,
    Select,
    UnaryExpression,
)
from sqlalchemy.orm import QueryableAttribute
from sqlalchemy.sql.expression import SelectBase, TextClause
from sqlalchemy.sql.functions import FunctionElement

from dal.errors import UsageError
from dal.repository.entities import unaliased

__all__ = ["column_expression", "condition", "foreign_tables", "linked", "refuse_foreign", "tables_in"]


def condition(written: Any) -> ClauseElement:
    """Return the SQL of a filter.

    Raises:
        UsageError: It is not a SQL condition.
    """
    clause = written if isinstance(written, ColumnElement) else _clause(written)
    if isinstance(clause, (ColumnElement, TextClause)):
        return clause
    raise UsageError(f"{_shown(written)} is not a filter", hint=_hint_for(written))


def column_expression(written: Any, purpose: str) -> ColumnElement[Any]:
    """Return the SQL of a column, for ordering or naming.

    Raises:
        UsageError: It is not a column expression.
    """
    clause = written if isinstance(written, ColumnElement) else _clause(written)
    if isinstance(clause, ColumnElement):
        return clause
    raise UsageError(
        f"{purpose} takes column expressions, not {_shown(written)}", hint=f"write {purpose}=User.name, not its name"
    )


def _clause(written: Any) -> Any:
    if isinstance(written, (ClauseElement, type)):
        return written
    method = getattr(written, "__clause_element__", None)
    return None if method is None else method()


def _shown(written: Any) -> str:
    if isinstance(written, type):
        return f"the class {written.__name__}"
    if isinstance(written, ClauseElement):
        return f"a {type(written).__name__}"
    return str(written) if isinstance(written, QueryableAttribute) else f"{written!r} ({type(written).__name__})"


def _hint_for(written: Any) -> str:
    if isinstance(written, bool):
        return (
            "use sqlalchemy.true() to mean every row; "
            "a comparison that gave a Python bool compared values, not a mapped attribute (SQLModel: use col())"
        )
    if isinstance(written, Executable) and not isinstance(written, Select):
        return "send it with session.scalars(), or narrow by it: User.id.in_(select(...).union(...))"
    if isinstance(written, SelectBase):
        return "a select() goes first and alone: users.list(select(User).where(...), User.active)"
    return 'write a comparison of an attribute: User.email == "a@b"'


def tables_in(clause: Any) -> set[FromClause]:
    """Collect the tables whose columns a clause uses outside of its subqueries."""
    found: set[FromClause] = set()
    pending = [clause]
    while pending:
        node = pending.pop()
        if isinstance(node, ColumnClause):
            if node.table is not None:
                found.add(node.table)
        elif isinstance(node, BinaryExpression):
            pending += (node.left, node.right)
        elif isinstance(node, UnaryExpression):
            pending.append(node.element)
        elif isinstance(node, BindParameter):
            continue
        elif isinstance(node, FunctionElement) or not isinstance(node, (SelectBase, ScalarSelect, FromClause)):
            pending.extend(node.get_children())
    return found


def foreign_tables(clause: Any, contained: Iterable[FromClause]) -> set[FromClause]:
    """Collect the tables a clause uses that the statement does not contain."""
    return tables_in(clause).difference(contained)


def linked(clauses: Iterable[Any], contained: Iterable[FromClause]) -> set[FromClause]:
    """Grow the contained tables by those that a comparison ties to them."""
    reached = set(contained)
    ties = [tie for clause in clauses for tie in _ties(clause)]
    grew = True
    while grew:
        grew = False
        for tie in ties:
            if tie & reached and not tie <= reached:
                reached |= tie
                grew = True
    return reached


def _ties(clause: Any) -> Iterable[set[FromClause]]:
    pending = [clause]
    while pending:
        node = pending.pop()
        if isinstance(node, BinaryExpression):
            yield tables_in(node.left) | tables_in(node.right)
        if isinstance(node, FunctionElement) or not isinstance(node, (SelectBase, ScalarSelect, FromClause)):
            pending.extend(node.get_children())


def refuse_foreign(tables: Iterable[FromClause], entity_name: str, part: str) -> None:
    """Refuse tables that the statement does not contain.

    Raises:
        UsageError: There is one.
    """
    names = sorted(str(getattr(unaliased(table), "name", table)) for table in tables)
    if names:
        raise UsageError(
            f"the {part} uses {', '.join(names)}, which the statement does not contain: "
            f"every row of {entity_name} would be paired with every row of it",
            hint=f"join it: select({entity_name}).join(...).where(...), or ask by .any(...) or .has(...)",
        )

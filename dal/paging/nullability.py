"""Whether an expression can be NULL, as far as models tell; where they do not, it can.

To say "it can" of what cannot costs one more branch in a page's statement. The other mistake would lose rows, so doubt
goes to NULL. What a model declares NOT NULL is believed: where the database's column differs, `dal migrate check` says so.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BinaryExpression, BindParameter, Column, Dialect, Label, Table
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import CollationClause, Grouping, TypeCoerce
from sqlalchemy.sql.functions import FunctionElement

from dal.paging.sources import Sources

__all__ = ["may_be_null"]

_KEEPS = frozenset({"lower", "upper", "length", "char_length", "character_length", "abs", "trim", "ltrim", "rtrim", "md5"})
_OPERATORS = frozenset(
    {
        operators.add,
        operators.sub,
        operators.mul,
        operators.concat_op,
        operators.eq,
        operators.ne,
        operators.lt,
        operators.le,
        operators.gt,
        operators.ge,
        operators.collate,
    }
)


def may_be_null(expression: Any, sources: Sources, dialect: Dialect) -> bool:
    """Tell whether an expression may be NULL in a row of a statement."""
    if any(expression is each or expression.compare(each) for each in sources.not_null):
        return False
    return _may(expression, sources)


def _may(element: Any, sources: Sources) -> bool:
    if isinstance(element, (Label, Grouping)):
        return _may(element.element, sources)
    if isinstance(element, TypeCoerce):
        return _may(element.clause, sources)
    if isinstance(element, Column):
        table = element.table
        behind = getattr(table, "element", table)
        return table in sources.missing or not isinstance(behind, Table) or bool(element.nullable)
    if isinstance(element, CollationClause):
        return False
    if isinstance(element, BindParameter):
        return element.effective_value is None
    if isinstance(element, BinaryExpression):
        plain = element.operator in _OPERATORS or getattr(element.operator, "opstring", None) == "+"
        return not plain or _may(element.left, sources) or _may(element.right, sources)
    if isinstance(element, FunctionElement):
        return _function(element, sources)
    return True


def _function(element: FunctionElement[Any], sources: Sources) -> bool:
    name = str(getattr(element, "name", "")).lower()
    arguments = list(element.clauses)
    if name == "count":
        return False
    if name == "coalesce":
        return all(_may(each, sources) for each in arguments)
    return name not in _KEEPS or any(_may(each, sources) for each in arguments)

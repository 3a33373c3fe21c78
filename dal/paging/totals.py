"""How many rows there are in all: exactly, up to a bound, or as the planner guesses.

A `count(*)` reads every row that the filters leave. `bounded` stops at 10,000 and then says "at least"; `estimate` asks
PostgreSQL's planner and reads nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import ColumnElement, Connection, Executable, Select, func, literal_column, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ClauseElement

from dal.errors import UsageError
from dal.paging import _internals
from dal.paging.plan import PagePlan

__all__ = ["BOUND", "Total", "Totals", "checked", "count"]

Totals: TypeAlias = Literal["none", "exact", "bounded", "estimate"] | int

BOUND = 10_000

_ONE: ColumnElement[Any] = literal_column("1").label("one")


@dataclass(frozen=True)
class Total:
    """How many rows there are.

    Args:
        value: The number.
        exact: Whether that is how many there were when they were counted. Otherwise there are more (bounded), or about as
            many (estimate).

    Example:
        >>> Total(10_000, exact=False)
        Total(value=10000, exact=False)
    """

    value: int
    exact: bool


def checked(total: object) -> Totals:
    """Return what was asked for as a total.

    Raises:
        UsageError: There is no such total.
    """
    if total in ("none", "exact", "bounded", "estimate") or (type(total) is int and total > 0):
        return total
    raise UsageError(
        f"there is no total {total!r}", hint='write "none", "exact", "bounded", "estimate", or the number to count up to'
    )


def count(session: Session | Connection, planned: PagePlan[Any], total: Totals) -> Total | None:
    """Count the rows of a plan.

    Args:
        session: Where.
        planned: The plan.
        total: How; a number is the bound to count up to.

    Returns:
        The total, or None where none was asked for.
    """
    if total == "none":
        return None
    inner = _internals.without_loading(planned.select)
    if not planned.wrapped:
        # Of a row only that it is there: an index can answer.
        inner = inner.order_by(None).with_only_columns(_ONE, maintain_column_froms=True)
    elif not _internals.limited(inner):
        inner = inner.order_by(None)
    if total == "exact":
        return Total(_count(session, inner), exact=True)
    if total == "estimate" and planned.dialect.name == "postgresql":
        return Total(_estimated(session, inner), exact=False)
    bound = total if isinstance(total, int) else BOUND
    rows = select(_ONE).select_from(inner.subquery()) if planned.wrapped else inner
    within = rows.limit(bound + 1)
    found = _count(session, within)
    return Total(min(found, bound), exact=found <= bound)


def _count(session: Session | Connection, inner: Select[Any]) -> int:
    found = session.execute(select(func.count()).select_from(inner.subquery())).scalar_one()
    return int(found)


class _Explain(Executable, ClauseElement):
    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(_Explain)
def _explain(element: _Explain, compiler: Any, **options: Any) -> str:
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.statement, **options)}"


def _estimated(session: Session | Connection, statement: Select[Any]) -> int:
    explained = session.execute(_Explain(select(statement.subquery()))).scalar_one()
    return int(explained[0]["Plan"]["Plan Rows"])

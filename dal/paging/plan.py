"""From a SELECT and an order to what a page needs: keys that tell every row apart, and the statement of any page.

    plan(select(User), order_by=[User.created_at.desc()], dialect=...)     made once a query, sends nothing
        .fingerprint                                                       what a cursor is bound to
        .statement(50, after=position)                                     the one statement of a page

The key values travel with the rows as columns of their own behind those that were selected. A statement whose rows are not
rows of its FROM (GROUP BY, DISTINCT, LIMIT, window functions) is paged from outside, as a subquery.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, TypeVar, TypeVarTuple, overload

from sqlalchemy import BindParameter, ColumnElement, Dialect, Executable, Row, Select, Table
from sqlalchemy.sql.elements import ColumnClause, Over
from sqlalchemy.sql.selectable import SelectBase
from sqlalchemy.sql.visitors import iterate

from dal.errors import UsageError
from dal.paging import _internals
from dal.paging.fingerprint import fingerprint
from dal.paging.forms import MOST, SKIPPED, page_statement
from dal.paging.keyset import Position, Seek
from dal.paging.memory import Memory, Recall, recall_of
from dal.paging.nullability import may_be_null
from dal.paging.order import Key, keys_of, listed
from dal.paging.raw import parameter_name, raw
from dal.paging.sources import Sources, sources_of
from dal.paging.uniqueness import completed, identity_of

__all__ = ["PagePlan", "plan"]

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
Ts = TypeVarTuple("Ts")

KEY = "dal_key_{}"


@dataclass(frozen=True, eq=False)
class PagePlan(Generic[T]):
    """How a SELECT is walked.

    Args:
        select: The SELECT as it was given, with its options.
        keys: The whole order: no two rows agree in all of them.
        identity: The places of keys that suffice to find a row again by an index; empty where there are none.
        dialect: The database's dialect.
        wrapped: Whether the rows are those of a subquery.
    """

    select: Select[T]
    keys: tuple[Key, ...]
    identity: tuple[int, ...]
    dialect: Dialect
    wrapped: bool
    _recall: Recall | None = field(default=None, repr=False)
    _built: dict[Seek, Executable] = field(default_factory=dict, repr=False)

    @cached_property
    def fingerprint(self) -> bytes:
        """What tells this query apart, its order and the values of its filters included; the same in every process."""
        return fingerprint(self, self._recall)

    @cached_property
    def width(self) -> int:
        """How many columns of a row are the caller's; the key values follow."""
        return len(self.select.column_descriptions)

    @cached_property
    def mapped(self) -> bool:
        """Whether it selects through a mapping, and not from bare tables."""
        return any(each.get("entity") is not None for each in self.select.column_descriptions)

    @cached_property
    def hidden(self) -> tuple[ColumnElement[Any], ...]:
        """The key values as columns."""
        return tuple(raw(key.expression, self.dialect).label(KEY.format(place)) for place, key in enumerate(self.keys))

    def statement(
        self,
        size: int,
        *,
        after: Position | None = None,
        before: Position | None = None,
        offset: int = 0,
        backwards: bool = False,
    ) -> tuple[Executable, dict[str, Any]]:
        """Return the statement of a page: its rows, nearest to the position first, and one more to tell whether it is the last.

        Args:
            size: Rows of the page.
            after: Begin after this position.
            before: Begin before this position, and go backwards.
            offset: Rows to skip, of a page without a position.
            backwards: Begin at the end, where there is no position.

        Returns:
            A statement, the same object for all pages of its kind, and its parameters: `session.execute(*both)`. The rows
            have the key values at their end.
        """
        position = after if before is None else before
        backwards = backwards or before is not None
        values = () if position is None else position.values
        seek = Seek(
            nulls=None if position is None else tuple([value is None for value in values]),
            inclusive=position is not None and position.side == (1 if backwards else -1),
            backwards=backwards,
            skips=offset > 0,
        )
        built = self._built.get(seek)
        if built is None:
            built = self._built[seek] = page_statement(self, seek)
        parameters = {parameter_name(place): value for place, value in enumerate(values) if value is not None}
        return built, {**parameters, MOST: size + 1, **({SKIPPED: offset} if offset else {})}


@overload
def plan(
    statement: Select[T], *, order_by: Any = None, dialect: Dialect, key: Sequence[ColumnElement[Any]] | None = None
) -> PagePlan[T]: ...
@overload
def plan(
    statement: Select[T1, T2, *Ts], *, order_by: Any = None, dialect: Dialect, key: Sequence[ColumnElement[Any]] | None = None
) -> PagePlan[Row[T1, T2, *Ts]]: ...
def plan(
    statement: Any, *, order_by: Any = None, dialect: Dialect, key: Sequence[ColumnElement[Any]] | None = None
) -> PagePlan[Any]:
    """Plan how a SELECT is walked.

    Args:
        statement: The SELECT; an order of its own comes first.
        order_by: A column expression, or a list of them.
        dialect: The dialect of the database it will be sent to.
        key: What tells its rows apart, where that cannot be seen: a CTE that calls itself, a function that returns rows.

    Returns:
        The plan.

    Raises:
        UsageError: It is no `select()`, its order cannot be compared with rows, or nothing tells its rows apart.

    Example:
        >>> from sqlalchemy import column, create_engine, select, table
        >>> from sqlalchemy import Column, Integer, MetaData, String, Table
        >>> users = Table("users", MetaData(), Column("id", Integer, primary_key=True), Column("name", String, nullable=False))
        >>> planned = plan(select(users), order_by=users.c.name.desc(), dialect=create_engine("sqlite://").dialect)
        >>> [str(each.expression) for each in planned.keys]
        ['users.name', 'users.id']
    """
    if not isinstance(statement, Select):
        raise UsageError(
            f"a {type(statement).__name__} cannot be paged: it says nothing of an order or of what tells its rows apart",
            hint="page a select(); around a union: select(union(...).subquery())",
        )
    more = listed(order_by)
    recall = recall_of(statement, more, dialect) if key is None else None
    if recall is None:
        return _plan(statement, more, dialect, key)
    known = _plans.get(recall)
    if known is None:
        like = _alike.get(recall.shape)
        if like is None:
            known = replace(_plan(statement, more, dialect, None), _recall=recall)
            if not any(_differs(each.expression) for each in known.keys):
                _alike.put(recall.shape, known)
        else:
            known = PagePlan(statement, like.keys, like.identity, dialect, like.wrapped, recall)
        _plans.put(recall, known)
    return known


_plans: Memory[PagePlan[Any]] = Memory(512)
_alike: Memory[PagePlan[Any]] = Memory(512)
"""By shape alone: where no key is of one statement only, that of another with other values has the same keys."""


def _differs(expression: ColumnElement[Any]) -> bool:
    """Tell whether an expression belongs to one statement only: it holds a value, or a column of an alias or a subquery."""
    return any(
        isinstance(node, (BindParameter, SelectBase)) or (isinstance(node, ColumnClause) and not isinstance(node.table, Table))
        for node in iterate(expression)
    )


def _plan(
    statement: Select[T], order_by: Sequence[Any], dialect: Dialect, key: Sequence[ColumnElement[Any]] | None
) -> PagePlan[T]:
    keys = keys_of((*_internals.order_by(statement), *order_by), statement, dialect)
    sources = sources_of(statement)
    keys = completed(statement, keys, sources, dialect, key)
    keys = tuple(replace(each, nullable=_nullable(each, statement, sources, dialect)) for each in keys)
    wrapped = _needs_wrapping(statement, keys)
    identity = () if wrapped else identity_of(keys, sources)
    return PagePlan(statement, keys, identity, dialect, wrapped)


def _nullable(key: Key, statement: Select[Any], sources: Sources, dialect: Dialect) -> bool:
    grouped = _internals.group_by(statement)
    subtotals = any(type(each).__name__.lower() in {"rollup", "cube", "grouping_sets"} for each in grouped)
    return subtotals or may_be_null(key.expression, sources, dialect)


def _needs_wrapping(statement: Select[Any], keys: Sequence[Key]) -> bool:
    distinct, _ = _internals.distinct_on(statement)
    if not keys or distinct or _internals.group_by(statement) or _internals.limited(statement):
        return True
    parts = [key.expression for key in keys] + [
        each for each in statement.selected_columns if not isinstance(each, ColumnClause)
    ]
    return any(isinstance(node, Over) for part in parts for node in iterate(part))

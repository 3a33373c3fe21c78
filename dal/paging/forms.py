"""The SQL of a page: how the branches of a seek become one statement that SQLAlchemy loads as it loads the SELECT itself.

- One branch: the SELECT with one condition more.
- Several, and the rows can be found by a key: the SELECT `WHERE id IN (the keys of the page, a UNION ALL of the branches)`.
  All its options, joins and locks stay in force.
- Several, and they cannot; or a SELECT that is paged from outside: the UNION ALL itself, loaded by `from_statement()`.
  What would be joined for eager loading comes by a statement of its own or at the touch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, BindParameter, ColumnElement, Executable, Select, and_, or_, select, tuple_, union_all

from dal.paging import _internals
from dal.paging.keyset import Branch, Seek, branches, nothing
from dal.paging.order import Key, ordering
from dal.paging.raw import compared, raw

if TYPE_CHECKING:
    from dal.paging.plan import PagePlan

__all__ = ["MOST", "SKIPPED", "page_statement"]

MOST, SKIPPED = "dal_most", "dal_skipped"
"""The parameters of a page's statement: rows at most, and rows to skip; beside those of a position's values."""

_MOST = BindParameter(MOST, type_=BigInteger)
_SKIPPED = BindParameter(SKIPPED, type_=BigInteger)


def page_statement(planned: PagePlan[Any], seek: Seek) -> Executable:
    """Build the statement that reads rows from a position on, nearest first."""
    keys = tuple(key.reversed() for key in planned.keys) if seek.backwards else planned.keys
    source = _Wrapped(planned) if planned.wrapped else _Direct(planned)
    found = _found(planned, keys, source.compared, seek)
    if len(found) == 1:
        statement = _limited(source, source.base, keys, found[0], skips=seek.skips)
        return source.loaded(statement) if planned.wrapped else statement
    if not planned.wrapped and planned.identity:
        return _by_identity(planned, source, keys, found)
    return source.loaded(_united(planned, source, keys, found))


class _Direct:
    """The SELECT itself, with the key values behind its columns."""

    def __init__(self, planned: PagePlan[Any]) -> None:
        self._planned = planned
        self.dialect = planned.dialect
        self.base: Select[Any] = planned.select.order_by(None).add_columns(*planned.hidden)
        self.compared: Sequence[ColumnElement[Any]] = [compared(key.expression) for key in planned.keys]
        self.ordered: Sequence[ColumnElement[Any]] = [key.expression for key in planned.keys]

    def loaded(self, statement: Any) -> Executable:
        """Return what loads the rows of another statement."""
        return _from_statement(self._planned, self.base, statement)


class _Wrapped:
    """The SELECT as a subquery."""

    def __init__(self, planned: PagePlan[Any]) -> None:
        self._planned = planned
        self.dialect = planned.dialect
        statement = planned.select
        ordered = _internals.limited(statement) or _internals.distinct_on(statement)[1]
        inner = _internals.without_loading(statement if ordered else statement.order_by(None))
        selected = list(inner.selected_columns)
        places = [_place(key.expression, selected) for key in planned.keys]
        beside = [hidden for hidden, place in zip(planned.hidden, places, strict=True) if place is None]
        rows = list(inner.add_columns(*beside).subquery("dal_rows").c)
        spare = iter(rows[len(selected) :])
        own = [next(spare) if place is None else rows[place] for place in places]
        keys = [raw(each, planned.dialect).label(hidden.key) for each, hidden in zip(own, planned.hidden, strict=True)]
        self.base: Select[Any] = select(*rows[: len(selected)], *keys)
        self.compared: Sequence[ColumnElement[Any]] = [compared(each) for each in own]
        self.ordered: Sequence[ColumnElement[Any]] = own

    def loaded(self, statement: Any) -> Executable:
        """Return what loads the rows of another statement."""
        return _from_statement(self._planned, self.base, statement)


_Source = _Direct | _Wrapped


def _place(expression: ColumnElement[Any], selected: Sequence[ColumnElement[Any]]) -> int | None:
    """Return where a key is among what is selected: a group's expression must not be written a second time."""
    for place, each in enumerate(selected):
        if expression is each or expression.compare(getattr(each, "element", each)):
            return place
    return None


def _from_statement(planned: PagePlan[Any], base: Select[Any], statement: Any) -> Executable:
    if not planned.mapped:
        found: Executable = statement
        return found
    columns = [each["expr"] for each in planned.select.column_descriptions]
    hidden = list(base.selected_columns)[-len(planned.keys) :] if planned.keys else []
    loading: Any = select(*columns, *hidden).options(*_internals.options_of(planned.select))
    loaded: Executable = loading.from_statement(statement).execution_options(**planned.select.get_execution_options())
    return loaded


def _found(planned: PagePlan[Any], keys: Sequence[Key], compared: Sequence[ColumnElement[Any]], seek: Seek) -> list[Branch]:
    if seek.nulls is None:
        return [Branch(())]
    if not keys:
        return [Branch(()) if seek.inclusive else nothing()]
    rows = planned.dialect.name not in {"mysql", "mariadb"}
    found = branches(keys, compared, seek, rows=rows)
    if not found:
        return [nothing()]
    if not rows and len(found) > 1 and not any(key.nullable for key in keys):
        # MariaDB seeks by ranges that it makes out of AND and OR, not by row values.
        return [Branch((or_(*(and_(*each.conditions) for each in found)),))]
    return found


def _limited(source: _Source, base: Select[Any], keys: Sequence[Key], branch: Branch, *, skips: bool = False) -> Select[Any]:
    varying = [place for place in range(len(keys)) if place not in branch.constant]
    sorted_by = [replace(keys[place], nullable=keys[place].nullable and place not in branch.present) for place in varying]
    order = ordering(sorted_by, [source.ordered[place] for place in varying], source.dialect)
    statement = base.where(*branch.conditions).order_by(*order).limit(_MOST)
    return statement.offset(_SKIPPED) if skips else statement


def _united(planned: PagePlan[Any], source: _Source, keys: Sequence[Key], found: Sequence[Branch]) -> Select[Any]:
    bare = _internals.without_loading(source.base)
    parts = [_limited(source, bare, keys, each).subquery() for each in found]
    rows = union_all(*(select(part) for part in parts)).subquery("dal_page")
    return select(rows).order_by(*ordering(keys, list(rows.c)[-len(keys) :], planned.dialect)).limit(_MOST)


def _by_identity(planned: PagePlan[Any], source: _Source, keys: Sequence[Key], found: Sequence[Branch]) -> Executable:
    bare = _internals.without_loading(source.base)
    narrow = bare.with_only_columns(*list(bare.selected_columns)[-len(keys) :], maintain_column_froms=True)
    parts = [_limited(source, narrow, keys, each).subquery() for each in found]
    union = union_all(*(select(part) for part in parts)).subquery("dal_page")
    chosen = (
        select(*(union.c[place] for place in planned.identity))
        .order_by(*ordering(keys, list(union.c), planned.dialect))
        .limit(_MOST)
    )
    own: Any = [source.compared[place] for place in planned.identity]
    left = own[0] if len(own) == 1 else tuple_(*own)
    # A subquery of its own: MariaDB takes no LIMIT directly inside IN.
    page = select(chosen.subquery("dal_keys"))
    return source.base.where(left.in_(page)).order_by(*ordering(keys, source.ordered, planned.dialect))

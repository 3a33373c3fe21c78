"""The SQL of a page: how the branches of a seek become one statement that SQLAlchemy loads as it loads the SELECT itself.

- One branch: the SELECT with one condition more.
- Several, and the rows can be found by a key: the SELECT `WHERE id IN (the keys of the page, a UNION ALL of the branches)`.
  All its options, joins and locks stay in force.
- Several, and they cannot; or a SELECT that is paged from outside: the UNION ALL itself, loaded by `from_statement()`.
  What would be joined for eager loading comes by a statement of its own or at the touch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, BindParameter, ColumnElement, Executable, Select, and_, or_, select, tuple_, union_all

from dal.paging import _internals
from dal.paging.keyset import Branch, Seek, branches, nothing
from dal.paging.order import Key, ordering
from dal.paging.raw import compared, raw

if TYPE_CHECKING:
    from dal.paging.plan import PagePlan

__all__ = ["MOST", "SKIPPED", "page_statement"]

_BY_ROW_VALUES = frozenset({"postgresql", "sqlite"})
"""The databases that seek an index by row values; the others make ranges of AND and OR."""

MOST, SKIPPED = "dal_most", "dal_skipped"
"""The parameters of a page's statement: rows at most, and rows to skip; beside those of a position's values."""

_MOST = BindParameter(MOST, type_=BigInteger)
_SKIPPED = BindParameter(SKIPPED, type_=BigInteger)


@dataclass(frozen=True, eq=False)
class _Source:
    """What rows are read from.

    Args:
        base: The SELECT without order and bounds, with the key values behind its columns.
        compared: The keys as values are compared with them.
        ordered: The keys as they are ordered by.
    """

    base: Select[Any]
    compared: Sequence[ColumnElement[Any]]
    ordered: Sequence[ColumnElement[Any]]


def page_statement(planned: PagePlan[Any], seek: Seek) -> Executable:
    """Build the statement that reads rows from a position on, nearest first."""
    keys = tuple(key.reversed() for key in planned.keys) if seek.backwards else planned.keys
    source = _wrapped(planned) if planned.wrapped else _direct(planned)
    found = _found(planned, keys, source.compared, seek)
    if len(found) == 1:
        statement = _limited(planned, source, source.base, keys, found[0], skips=seek.skips)
        return _from_statement(planned, source, statement) if planned.wrapped else statement
    if planned.identity:
        return _by_identity(planned, source, keys, found)
    return _from_statement(planned, source, _united(planned, source, keys, found))


def _direct(planned: PagePlan[Any]) -> _Source:
    """Return the SELECT itself."""
    return _Source(
        base=planned.select.order_by(None).add_columns(*planned.hidden),
        compared=[compared(key.expression) for key in planned.keys],
        ordered=[key.expression for key in planned.keys],
    )


def _wrapped(planned: PagePlan[Any]) -> _Source:
    """Return the SELECT as a subquery."""
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
    return _Source(
        base=select(*rows[: len(selected)], *keys),
        compared=[compared(each) for each in own],
        ordered=own,
    )


def _place(expression: ColumnElement[Any], selected: Sequence[ColumnElement[Any]]) -> int | None:
    """Return where a key is among what is selected: a group's expression must not be written a second time."""
    for place, each in enumerate(selected):
        if expression is each or expression.compare(getattr(each, "element", each)):
            return place
    return None


def _from_statement(planned: PagePlan[Any], source: _Source, statement: Any) -> Executable:
    """Return what loads the rows of another statement as those of the SELECT."""
    if not planned.mapped:
        found: Executable = statement
        return found
    columns = [each["expr"] for each in planned.select.column_descriptions]
    hidden = list(source.base.selected_columns)[-len(planned.keys) :] if planned.keys else []
    loading: Any = select(*columns, *hidden).options(*_internals.options_of(planned.select))
    loaded: Executable = loading.from_statement(statement).execution_options(**planned.select.get_execution_options())
    return loaded


def _found(planned: PagePlan[Any], keys: Sequence[Key], compared: Sequence[ColumnElement[Any]], seek: Seek) -> list[Branch]:
    if seek.nulls is None:
        return [Branch(())]
    if not keys:
        return [Branch(()) if seek.inclusive else nothing()]
    rows = planned.dialect.name in _BY_ROW_VALUES
    found = branches(keys, compared, seek, rows=rows)
    if not found:
        return [nothing()]
    if not rows and len(found) > 1 and not any(key.nullable for key in keys):
        return [Branch((or_(*(and_(*each.conditions) for each in found)),))]
    return found


def _limited(
    planned: PagePlan[Any],
    source: _Source,
    base: Select[Any],
    keys: Sequence[Key],
    branch: Branch,
    *,
    skips: bool = False,
) -> Select[Any]:
    varying = [place for place in range(len(keys)) if place not in branch.constant]
    sorted_by = [replace(keys[place], nullable=keys[place].nullable and place not in branch.present) for place in varying]
    order = ordering(sorted_by, [source.ordered[place] for place in varying], planned.dialect)
    statement = base.where(*branch.conditions).order_by(*order).limit(_MOST)
    return statement.offset(_SKIPPED) if skips else statement


def _united(planned: PagePlan[Any], source: _Source, keys: Sequence[Key], found: Sequence[Branch]) -> Select[Any]:
    bare = _internals.without_loading(source.base)
    parts = [_limited(planned, source, bare, keys, each).subquery() for each in found]
    rows = union_all(*(select(part) for part in parts)).subquery("dal_page")
    return select(rows).order_by(*ordering(keys, list(rows.c)[-len(keys) :], planned.dialect)).limit(_MOST)


def _by_identity(planned: PagePlan[Any], source: _Source, keys: Sequence[Key], found: Sequence[Branch]) -> Executable:
    bare = _internals.without_loading(source.base)
    narrow = bare.with_only_columns(*list(bare.selected_columns)[-len(keys) :], maintain_column_froms=True)
    parts = [_limited(planned, source, narrow, keys, each).subquery() for each in found]
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

"""From what a caller wrote to the one SELECT that answers it; everything is checked, nothing is sent.

A plain `select()` of the entity goes in as it is and may be followed by filters; without one, the filters narrow
`select(Entity)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, TypeVar, get_args

from sqlalchemy import CompoundSelect, FromClause, Select, func, inspect, select
from sqlalchemy.orm import PropComparator, Session

from dal.errors import UnsupportedError, UsageError
from dal.repository import _internals, criteria
from dal.repository.entities import Entity, flatten, unaliased
from dal.repository.types import Criterion, Lock, Order

__all__ = ["batch_size", "conditions", "counting", "locked", "read", "refuse_select"]

T = TypeVar("T")


class _ForUpdate(TypedDict, total=False):
    read: bool
    nowait: bool
    skip_locked: bool


_LOCKS: Mapping[str, _ForUpdate] = {
    "update": {},
    "share": {"read": True},
    "skip_locked": {"skip_locked": True},
    "nowait": {"nowait": True},
}


def read(
    entity: Entity[T],
    written: tuple[Criterion[T], ...],
    *,
    order_by: Order | None = None,
    limit: int | None = None,
    offset: int | None = None,
) -> Select[T]:
    """Build the SELECT of a read.

    Raises:
        UsageError: A filter, an order or a bound cannot mean what was written.
    """
    if written and isinstance(written[0], Select):
        statement, contained = written[0], None
        _check_select(entity, statement)
        written = written[1:]
    else:
        statement, contained = entity.select, entity.tables
    if written:
        if contained is None:
            contained = _contained(entity, statement)
        statement = statement.where(*conditions(entity, written, contained))
    if order_by is not None:
        if contained is None:
            contained = _contained(entity, statement)
        statement = statement.order_by(*_order(entity, order_by, contained))
    if limit is not None:
        statement = statement.limit(_bound(limit, "limit"))
    if offset is not None:
        statement = statement.offset(_bound(offset, "offset"))
    return statement


def conditions(entity: Entity[Any], written: tuple[Any, ...], contained: frozenset[FromClause]) -> list[Any]:
    """Check filters against the tables that a statement contains, and return their SQL.

    Raises:
        UsageError: One is not a condition, or uses a table that the statement does not contain.
    """
    clauses = [criteria.condition(each) for each in written]
    for clause in clauses:
        foreign = criteria.foreign_tables(clause, contained)
        if foreign:
            # `User.tags.contains(tag)` joins the association table by an implicit join that is tied to the entity.
            tied = criteria.linked(clauses, contained)
            loose = {each for each in foreign if each not in tied or unaliased(each) not in entity.secondaries}
            criteria.refuse_foreign(loose, entity.name, "filter")
    return clauses


def counting(entity: Entity[T], written: tuple[Criterion[T], ...]) -> Select[int]:
    """Build the statement that counts the rows of a read.

    Raises:
        UsageError: As `read`.
    """
    if written and isinstance(written[0], Select):
        return select(func.count()).select_from(read(entity, written).order_by(None).subquery())
    return entity.count.where(*conditions(entity, written, entity.tables)) if written else entity.count


def locked(statement: Select[T], lock: Lock | None, entity: Entity[T], session: Session) -> Select[T]:
    """Lock the rows a statement reads until the transaction ends, and read them as they are now.

    Raises:
        UsageError: There is no lock of that name.
        UnsupportedError: The database has no row locks.
    """
    if lock is None:
        return statement
    if lock not in _LOCKS:
        raise UsageError(f"there is no lock named {lock!r}", hint=f"use one of {', '.join(get_args(Lock))}")
    dialect = session.get_bind(entity.mapper).dialect.name
    if dialect == "sqlite":
        raise UnsupportedError(
            "SQLite has no row locks: a writer locks the whole database",
            hint="leave lock= out on SQLite, or run this on PostgreSQL",
        )
    described = _internals.selected_entity(statement)
    # Only the entity's own rows: PostgreSQL refuses to lock what an eager load joins from outside.
    of = described.mapper.tables if described.is_mapper else described.entity
    statement = statement.with_for_update(of=of, **_LOCKS[lock])
    # A row read under a lock has to replace what the session remembers of it, but not what it has yet to write.
    fresh = session.autoflush or not session.dirty
    return statement.execution_options(populate_existing=True) if fresh else statement


def _check_select(entity: Entity[Any], statement: Select[Any]) -> None:
    source = _internals.selected_entity(statement)
    if source is not entity.mapper and (source is None or not source.mapper.isa(entity.mapper)):
        shown = ", ".join(str(each["name"]) for each in statement.column_descriptions)
        raise UsageError(
            f"a repository of {entity.name} returns {entity.name} objects, and this select() returns {shown}",
            hint=f"pass select({entity.name}), or send this one with session.execute()",
        )
    where = _internals.where_clauses(statement)
    if source is entity.mapper and not any(criteria.foreign_tables(clause, entity.tables) for clause in where):
        return
    reached = criteria.linked(where, _contained(entity, statement))
    for clause in where:
        criteria.refuse_foreign(criteria.foreign_tables(clause, reached), entity.name, "where() of the select()")


def _contained(entity: Entity[Any], statement: Select[Any]) -> frozenset[FromClause]:
    found: set[FromClause] = set()
    if _internals.selected_entity(statement) is entity.mapper:
        found |= entity.tables
    for element in statement.columns_clause_froms:
        found.update(flatten(element))
    for part in _internals.explicit_froms(statement):
        if isinstance(part, PropComparator):
            found |= _joined_by(part)
        else:
            found.update(flatten(part))
    return frozenset(found)


def _joined_by(attribute: PropComparator[Any]) -> set[FromClause]:
    # Of an association table a join uses an alias of its own: a filter on the table itself would still be a cross join.
    entity = getattr(getattr(attribute, "comparator", attribute), "entity", None)
    return set() if entity is None else set(flatten(inspect(entity).selectable))


def _order(entity: Entity[Any], order_by: Order, contained: frozenset[FromClause]) -> list[Any]:
    parts = order_by if isinstance(order_by, (list, tuple)) else (order_by,)
    columns = [criteria.column_expression(each, "order_by") for each in parts]
    for column in columns:
        criteria.refuse_foreign(criteria.foreign_tables(column, contained), entity.name, "order_by")
    return columns


def _bound(number: int, purpose: str, least: int = 0) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise UsageError(f"{purpose} is {number!r}", hint=f"{purpose} is a number of rows: {least} or more")
    return number


def batch_size(batch: int) -> int:
    """Check how many rows a stream holds at a time.

    Raises:
        UsageError: It is not a positive number.
    """
    return _bound(batch, "batch", least=1)


def refuse_select(written: tuple[Any, ...], verb: str, entity: Entity[Any]) -> None:
    """Refuse a select() where only filters narrow.

    Raises:
        UsageError: There is a select() among the filters.
    """
    if any(isinstance(each, (Select, CompoundSelect)) for each in written):
        key = f"{entity.name}.{entity.key[0].key}"
        raise UsageError(f"{verb} takes filters, not a select()", hint=f"write {key}.in_(select({key}).where(...))")

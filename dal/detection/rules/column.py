"""Columns loaded for each object on its own: deferred, expired by a commit, of a sub-table, or refreshed in a loop.

Silent for one object, for the same object again, and for a refresh that follows a write.
"""

from __future__ import annotations

from typing import Any

from dal.detection.findings import ColumnNPlusOne, Finding
from dal.detection.groups import COLUMN, Group
from dal.detection.scope import Scope

__all__ = ["judge"]


def judge(scope: Scope) -> list[tuple[Finding, Group]]:
    """Judge the column loads of a scope."""
    return [(_finding(group), group) for group in scope.groups.values() if group.kind == COLUMN and _is_finding(group, scope)]


def _is_finding(group: Group, scope: Scope) -> bool:
    return len(group.parents) >= scope.threshold and group.count - group.isolated >= scope.threshold


def _finding(group: Group) -> ColumnNPlusOne:
    mapper, columns, by_user = group.subject
    entity = mapper.class_.__name__ if mapper is not None else "?"
    reason = "refresh" if by_user else _reason(mapper, columns)
    stack = tuple(str(site) for site in group.sites)
    fix, alternatives = _lines(mapper, entity, columns, reason)
    return ColumnNPlusOne(
        entity=entity,
        columns=columns,
        reason=reason,
        queries=group.count,
        call_site=stack[0] if stack else "(no application frame)",
        fix=fix,
        seconds=group.seconds,
        saves=group.count - 1,
        loaded_at=str(group.loaded.sites[0]) if group.loaded is not None and group.loaded.sites else None,
        stack=stack,
        alternatives=alternatives,
        sql=group.shape,
    )


def _reason(mapper: Any, columns: tuple[str, ...]) -> str:
    if mapper is None or not columns:
        return "expired"
    mapped = mapper.column_attrs
    named = [mapped[column] for column in columns if column in mapped]
    if named and all(column.deferred for column in named):
        return "deferred"
    own = mapper.local_table
    joined = mapper.inherits is not None and own is not mapper.inherits.local_table
    if joined and named and all(column.columns[0].table is own for column in named):
        return "sub-table"
    every = [column for column in mapped if not column.deferred]
    return "expired" if len(named) >= len(every) - len(mapper.primary_key) else "deferred"


def _lines(mapper: Any, entity: str, columns: tuple[str, ...], reason: str) -> tuple[str, tuple[str, ...]]:
    if reason == "deferred":
        named = ", ".join(f"undefer({entity}.{column})" for column in columns)
        return f".options({named})", (".options(batched())",)
    if reason == "sub-table":
        base = mapper.base_mapper.class_.__name__
        return f".options(selectin_polymorphic({base}, [{entity}]))", (".options(batched())",)
    key = mapper.primary_key[0].key if mapper is not None and mapper.primary_key else "id"
    again = f"session.scalars(select({entity}).where({entity}.{key}.in_(ids)).execution_options(populate_existing=True)).all()"
    if reason == "refresh":
        return again, ("read the values before the commit, or take them from RETURNING",)
    return "Session(engine, expire_on_commit=False)", (".options(batched())", again)

"""Columns of wide rows that were fetched and never read; only with `detect(wide=True)`.

Silent for rows of less than 12 columns, when more than half of them are read, and while objects of the result are still in use.
"""

from __future__ import annotations

from dal.detection.findings import Finding, UnusedColumns
from dal.detection.groups import Group
from dal.detection.scope import Scope
from dal.detection.wide import loaded_columns

__all__ = ["judge"]

_LEAST_ROWS = 3


def judge(scope: Scope) -> list[tuple[Finding, Group]]:
    """Judge the wide entities of a scope."""
    found: list[tuple[Finding, Group]] = []
    for group in scope.wide.groups if scope.wide is not None else ():
        every, unused = loaded_columns(group), scope.wide.unused(group) if scope.wide is not None else []
        rows = sum(scope.eager.loaded.get(id(group), {}).values())
        if rows >= _LEAST_ROWS and 2 * len(unused) > len(every) and not scope.eager.escaped(group):
            found.append((_finding(group, [column.key for column in unused], [column.key for column in every]), group))
    return found


def _finding(group: Group, unused: list[str], every: list[str]) -> UnusedColumns:
    entity = group.subject.class_.__name__
    stack = tuple(str(site) for site in group.sites)
    needed = ", ".join(f"{entity}.{key}" for key in every if key not in unused)
    return UnusedColumns(
        entity=entity,
        columns=tuple(unused),
        queries=group.count,
        call_site=stack[0] if stack else "(no application frame)",
        fix=f".options(load_only({needed}))",
        seconds=group.seconds,
        stack=stack,
        sql=group.shape,
    )

"""Two collections joined in one statement multiply each other: ten orders and ten addresses make a hundred rows.

The number of rows is the database's own where the driver tells it (psycopg, the MariaDB drivers), else it is counted from the
objects that were made. It is held against the rows that one statement for each collection would fetch.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

from dal.detection.advice import name_of
from dal.detection.findings import Finding, MultipliedRows
from dal.detection.groups import READ, Group
from dal.detection.scope import Scope

__all__ = ["judge"]

_LEAST_FACTOR = 2.0
_LEAST_WASTE = 20


def judge(scope: Scope) -> list[tuple[Finding, Group]]:
    """Judge the joins of a scope."""
    found: list[tuple[Finding, Group]] = []
    for group in scope.groups.values():
        if group.kind != READ:
            continue
        collections = [path for path in scope.eager.paths_of(group) if path[-1].uselist]
        apart = [pair for pair in combinations(collections, 2) if not _nested(*pair)]
        if apart:
            rows, objects, measured = _rows(scope, group)
            if objects and rows >= _LEAST_FACTOR * objects and rows - objects >= _LEAST_WASTE:
                found.append((_finding(group, collections, rows=rows, objects=objects, measured=measured), group))
    return found


def _nested(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    short, long = sorted((one, other), key=len)
    return long[: len(short)] == short


def _rows(scope: Scope, group: Group) -> tuple[int, int, bool]:
    """Return the rows that were fetched, those that separate statements need, and whether the driver told."""
    told, counted = scope.eager.told.get(id(group), 0), scope.eager.rows.get(id(group), 0)
    return max(told, counted), scope.eager.apart.get(id(group), 0), told > 0


def _finding(group: Group, collections: list[tuple[Any, ...]], *, rows: int, objects: int, measured: bool) -> MultipliedRows:
    names = tuple(name_of(path[-1]) for path in collections)
    stack = tuple(str(site) for site in group.sites)
    fix = (
        f"policy=eager({', '.join(names)})"
        if group.repository
        else ".options(" + ", ".join(f"selectinload({name})" for name in names) + ")"
    )
    return MultipliedRows(
        relationships=names,
        rows=rows,
        objects=objects,
        measured=measured,
        queries=group.count,
        call_site=stack[0] if stack else "(no application frame)",
        fix=fix,
        seconds=group.seconds,
        stack=stack,
        alternatives=() if group.repository else (f"policy=eager({', '.join(names)})",),
        sql=group.shape,
    )

"""Relationships that were loaded eagerly and never read.

Silent when nothing was loaded, when any object's relationship was read in the scope, when nothing of the objects was read by
name, and while objects of the result are still in use outside: whoever holds them may read it later.
"""

from __future__ import annotations

from collections import Counter

from dal.detection.advice import name_of
from dal.detection.eager import Expected
from dal.detection.findings import Finding, UnusedEagerLoad
from dal.detection.groups import Group
from dal.detection.scope import Scope

__all__ = ["judge"]

_LEAST = 3


def judge(scope: Scope) -> list[tuple[Finding, Group]]:
    """Judge the eager loads of a scope."""
    found: list[tuple[Finding, Group]] = []
    unused = [expected for expected in scope.eager.expected.values() if expected.relationship not in scope.eager.used]
    for expected in unused:
        if expected.joined and expected.relationship.lazy in ("joined", False) and not expected.relationship.uselist:
            # The mapping joins one row to one row for everybody; some will not need it, and a join more is cheap.
            continue
        objects = _objects(scope, expected)
        if objects >= _LEAST and scope.eager.looked_at(expected) and not scope.eager.escaped(expected.group):
            found.append((_finding(expected, objects), expected.group))
    return found


def _objects(scope: Scope, expected: Expected) -> int:
    counts = scope.eager.loaded.get(id(expected.group), Counter())
    return sum(count for mapper, count in counts.items() if mapper.isa(expected.relationship.mapper))


def _finding(expected: Expected, objects: int) -> UnusedEagerLoad:
    group, name = expected.group, name_of(expected.relationship)
    stack = tuple(str(site) for site in group.sites)
    mapped = expected.relationship.lazy in ("joined", "selectin", "subquery", "immediate", False)
    if mapped:
        fix, alternatives = f".options(lazyload({name}))", (f"map {name} without lazy={expected.relationship.lazy!r}",)
    else:
        fix, alternatives = f"drop the eager load of {name}", (".options(batched())",)
    return UnusedEagerLoad(
        relationship=name,
        objects=objects,
        queries=group.count,
        call_site=stack[0] if stack else "(no application frame)",
        fix=fix,
        seconds=0.0 if expected.joined else group.seconds,
        saves=0 if expected.joined else group.count,
        stack=stack,
        alternatives=alternatives,
        sql=group.shape,
    )

"""A relationship loaded for each parent on its own.

Told when the parents came from one result (or were themselves loaded one by one along a chain). Silent for parents that were
fetched singly, a page at a time or one from a queue: unless fetching those is itself a finding, there is nothing to batch.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from dal.detection.advice import eager_lines, name_of, path_to
from dal.detection.findings import Finding, NPlusOne
from dal.detection.groups import COLUMN, LAZY, READ, Group
from dal.detection.scope import Scope

__all__ = ["judge"]


def judge(scope: Scope, told: set[Any]) -> list[tuple[Finding, Group]]:
    """Judge the lazy loads of a scope.

    Args:
        scope: What was seen.
        told: Entities whose single fetches are findings of other rules.

    Returns:
        Findings with the group each is about.
    """
    groups = sorted((group for group in scope.groups.values() if group.kind == LAZY), key=_depth)
    joined = {id(group): scope.eager.paths_of(group) for group in scope.groups.values() if group.kind == READ}
    known: set[int] = set()
    for group in groups:
        if _is_n_plus_one(group, scope.threshold, told, known):
            known.add(id(group))
    found: list[tuple[Finding, Group]] = []
    for group in groups:
        if id(group) in known:
            # A generator that is advanced from several places leaves the first loads of its result elsewhere.
            rest = [other for other in groups if id(other) not in known and _of_one_result(group, other)]
            known.update(map(id, rest))
            found.append((_finding(group, joined, [group, *rest]), group))
    return [*found, *_scattered(scope, groups, joined, {group.subject for _, group in found})]


def _scattered(
    scope: Scope, groups: list[Group], joined: dict[int, list[tuple[Any, ...]]], relationships: set[Any]
) -> list[tuple[Finding, Group]]:
    """Find a relationship of one result that is read in several places, of which none alone is a loop."""
    several: dict[Any, list[Group]] = defaultdict(list)
    for group in groups:
        if group.subject not in relationships and group.loaded is not None:
            for batch in filter(None, group.batches):
                several[group.subject, batch].append(group)
    found: list[tuple[Finding, Group]] = []
    for (relationship, batch), together in several.items():
        total = sum(group.batches[batch] for group in together)
        if relationship not in relationships and total > scope.threshold:
            relationships.add(relationship)
            most = max(together, key=lambda group: group.count)
            found.append((_finding(most, joined, together), most))
    return found


def _of_one_result(group: Group, other: Group) -> bool:
    return group.subject is other.subject and any(batch and batch in group.batches for batch in other.batches)


def _depth(group: Group) -> int:
    """Count the lazy loads above a group, so that a chain is judged from its start."""
    depth, above, seen = 0, group.loaded, {id(group)}
    while above is not None and id(above) not in seen:
        seen.add(id(above))
        depth += 1
        above = above.loaded
    return depth


def _is_n_plus_one(group: Group, threshold: int, told: set[Any], known: set[int]) -> bool:
    if len(group.parents) < threshold:
        return False
    if group.circular or any(batch and times >= threshold for batch, times in group.batches.items()):
        return True
    above = group.loaded
    if above is None:
        return False
    if above.kind == LAZY:
        return id(above) in known
    parent = getattr(group.subject, "parent", None)
    return above.kind in (READ, COLUMN) and parent is not None and any(parent.common_parent(mapper) for mapper in told)


def _finding(group: Group, joined: dict[int, list[tuple[Any, ...]]], groups: list[Group] | None = None) -> NPlusOne:
    several = groups or [group]
    steps, circular = path_to(group, joined)
    fix, alternatives = eager_lines(steps, repository=_repository(group), circular=circular)
    queries = sum(each.count for each in several)
    stack = tuple(str(site) for site in group.sites)
    return NPlusOne(
        relationship=name_of(group.subject),
        queries=queries,
        call_site=stack[0] if stack else "(no application frame)",
        fix=fix,
        parents=sum(len(each.parents) for each in several),
        seconds=sum(each.seconds for each in several),
        saves=queries - 1,
        loaded_at=_loaded_at(group),
        stack=stack,
        alternatives=alternatives,
        sql=group.shape,
    )


def _loaded_at(group: Group) -> str | None:
    above, seen = group.loaded, {id(group)}
    while above is not None and above.kind != READ and above.loaded is not None and id(above) not in seen:
        seen.add(id(above))
        above = above.loaded
    return str(above.sites[0]) if above is not None and above.sites else None


def _repository(group: Group) -> bool:
    above, seen = group, {id(group)}
    while above.loaded is not None and id(above.loaded) not in seen:
        above = above.loaded
        seen.add(id(above))
    return above.repository or group.repository

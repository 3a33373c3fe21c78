"""The line to write: the option that loads at once what a finding saw loaded one by one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from sqlalchemy.orm import Mapper, RelationshipProperty

from dal.detection.groups import EAGER, LAZY, READ, Group

__all__ = ["eager_lines", "name_of", "path_to", "shortened"]


def name_of(relationship: Any) -> str:
    """Return `User.orders`."""
    parent = getattr(relationship, "parent", None)
    return f"{parent.class_.__name__}.{relationship.key}" if parent is not None else str(relationship)


def shortened(sql: str, most: int = 160) -> str:
    """Return a statement on one line, cut where it gets long."""
    line = " ".join(sql.split())
    return line if len(line) <= most else line[: most - 3] + "..."


def path_to(group: Group, joined: dict[int, list[tuple[Any, ...]]]) -> tuple[list[Any], bool]:
    """Return the relationships from the first query to what a group loads, and whether the path runs in a circle.

    Args:
        group: A group of lazy loads.
        joined: The joined paths of each group, by its id.
    """
    steps: list[Any] = [group.subject]
    seen = {id(group)}
    above = group.loaded
    while above is not None:
        if id(above) in seen:
            return [group.subject], group.circular
        seen.add(id(above))
        if above.kind == LAZY:
            steps.insert(0, above.subject)
        elif above.kind == EAGER:
            steps[:0] = [step for step in above.subject if isinstance(step, RelationshipProperty)]
            break
        elif above.kind == READ:
            steps[:0] = _joined_to(steps[0], above, joined.get(id(above), []))
            break
        above = above.loaded
    return (steps if _fits(steps) else [group.subject]), group.circular


def _joined_to(step: Any, above: Group, paths: list[tuple[Any, ...]]) -> list[Any]:
    parent = getattr(step, "parent", None)
    if not isinstance(above.subject, Mapper) or parent is None or above.subject.common_parent(parent):
        return []
    for path in paths:
        if path[-1].mapper.common_parent(parent):
            return [part for part in path if isinstance(part, RelationshipProperty)]
    return []


def _fits(steps: list[Any]) -> bool:
    if not all(isinstance(step, RelationshipProperty) for step in steps):
        return False
    return all(before.mapper.common_parent(after.parent) for before, after in pairwise(steps))


def eager_lines(steps: list[Any], *, repository: bool, circular: bool) -> tuple[str, tuple[str, ...]]:
    """Return the line to write and the other lines that would do.

    Args:
        steps: The relationships, from the first query on.
        repository: The code uses repositories of dal, so a policy is the natural word.
        circular: The relationship is followed from object to object.
    """
    names = [name_of(step) for step in steps]
    if circular:
        policy = f"policy=eager({names[-1]}, depth=5)"
        plain = f".options(selectinload({names[-1]}, recursion_depth=5))"
    else:
        policy = f"policy=eager({', '.join(names)})"
        calls = ("selectinload" if getattr(step, "uselist", True) else "joinedload" for step in steps)
        plain = ".options(" + ".".join(f"{call}({name})" for call, name in zip(calls, names, strict=True)) + ")"
    if repository:
        return policy, ("policy=batched()", plain)
    return plain, (policy, ".options(batched())")

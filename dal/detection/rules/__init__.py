"""The rules, most precise first; each statement belongs to one group, so that nothing is told twice."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Mapper

from dal.detection.findings import Finding
from dal.detection.groups import COLUMN, READ, Group
from dal.detection.rules import column, multiplied, relationship, repeated, unused, wide, writes
from dal.detection.scope import Scope

__all__ = ["judge"]


def judge(scope: Scope) -> list[tuple[Finding, Group]]:
    """Judge a scope by all rules.

    Args:
        scope: What was seen.

    Returns:
        Findings with the group each is about, in the order of the rules.
    """
    scope.eager.settle()
    repeats = repeated.judge(scope)
    columns = column.judge(scope)
    told: set[Any] = {group.subject for _, group in repeats if group.kind == READ and isinstance(group.subject, Mapper)}
    told |= {group.subject[0] for _, group in columns if group.kind == COLUMN and group.subject[0] is not None}
    return [
        *relationship.judge(scope, told),
        *columns,
        *repeats,
        *writes.judge(scope),
        *multiplied.judge(scope),
        *unused.judge(scope),
        *wide.judge(scope),
    ]

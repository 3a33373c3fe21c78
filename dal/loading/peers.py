"""Peers: the objects of one result that miss the same attribute.

They are found by scanning the session when something is touched, not recorded when rows arrive: rows cost nothing, and
a scan costs little beside the statement it saves. What the application no longer holds is not loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import InstanceState
from sqlalchemy.orm.attributes import instance_dict

from dal.loading.roster import roster_of
from dal.loading.touch import Batch, Touch
from dal.loading.watch import policy_of

__all__ = ["Misses", "peers"]

Misses = Callable[[InstanceState[Any], dict[str, Any]], bool]
"""Tell whether an object, by its state and what it has loaded, lacks the attribute and may get it."""


def peers(touch: Touch, misses: Misses, limit: int) -> list[tuple[InstanceState[Any], Any]]:
    """Find the objects that came with a touched one and miss the same attribute.

    Args:
        touch: The read that started it.
        misses: Tells whether an object lacks the attribute and may get it.
        limit: How many to return at most, the touched one and those that came after it first.

    Returns:
        Pairs of state and object, so that none is collected before it is filled; the touched one comes first.
    """
    first = touch.state
    options, path = first.load_options, first.load_path
    same: dict[int, bool] = {id(options): True}
    paths: dict[int, bool] = {id(path): True}
    before: list[tuple[InstanceState[Any], Any]] = []
    after: list[tuple[InstanceState[Any], Any]] = []
    found = before
    for state in roster_of(touch.session).members(touch.session, first):
        if state is first:
            found = after
            continue
        theirs = state.load_options
        if not theirs:
            continue
        batched = same.get(id(theirs))
        if batched is None:
            batched = same[id(theirs)] = _batch(state) is touch.batch
        if not batched:
            continue
        reached = paths.get(id(state.load_path))
        if reached is None:
            reached = paths[id(state.load_path)] = state.load_path == path
        held = state.obj() if reached else None
        if held is not None and misses(state, instance_dict(held)) and not state.was_deleted:
            found.append((state, held))
    return [(first, first.obj()), *after, *before][:limit]


def _batch(state: InstanceState[Any]) -> Batch | None:
    policy = policy_of(state)
    return policy.batch if policy is not None else None

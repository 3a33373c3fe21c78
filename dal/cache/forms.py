"""The forms in which a cache gives a value: `copies`, `shapes` and `dictionaries`.

* `copies`: mapped objects of the caller's own, complete and detached; `session.add()` or `session.merge()` takes them further.
* `shapes`: objects with the same attributes that nobody can change, so that all callers share them; nearly as fast as a dict.
* `dictionaries`: dicts of the caller's own, for JSON.

What the query did not load is refused with the line that would load it.
"""

from __future__ import annotations

import copy
from typing import Any

from sqlalchemy.engine import IteratorResult
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.orm.attributes import instance_state

from dal.cache.entry import Entry
from dal.cache.frozen import Frozen, rebuild
from dal.cache.shapes import shaped

__all__ = ["copies", "dictionaries", "shapes"]


def copies(entry: Entry) -> Any:
    """Give mapped objects of the caller's own, as they were loaded, without a session.

    Args:
        entry: What is kept.

    Returns:
        The value.
    """
    frozen = entry.frozen
    return rebuild(frozen.root, _instances(frozen) if frozen.nodes else [], _row)


def shapes(entry: Entry) -> Any:
    """Give objects that nobody can change, the same ones to every caller.

    Args:
        entry: What is kept.

    Returns:
        The value; lists come as tuples.
    """
    if entry.shapes is None:
        entry.shapes = shaped(entry.frozen)
    return entry.shapes


def patterns(entry: Entry) -> list[dict[str, Any]]:
    """Return a dict for each object, to be copied: that takes a fifth of making it."""
    if entry.patterns is None:
        entry.patterns = [dict(zip(plan.columns, values, strict=True)) for plan, _, values, _ in entry.frozen.nodes]
    return entry.patterns


def dictionaries(entry: Entry) -> Any:
    """Give a dict for every object, with the names of what was loaded.

    Args:
        entry: What is kept.

    Returns:
        The value; rows come as dicts too.
    """
    frozen = entry.frozen
    objects: list[Any] = [pattern.copy() for pattern in patterns(entry)]
    for made, (plan, _, values, links) in zip(objects, frozen.nodes):  # noqa: B905
        for (key, many, _), link in zip(plan.relations, links):  # noqa: B905
            made[key] = [objects[each] for each in link] if many else None if link is None else objects[link]
        for at in plan.opaque:
            made[plan.columns[at]] = copy.deepcopy(values[at])
    return rebuild(frozen.root, objects, lambda names, values: dict(zip(names, values, strict=True)))


def _instances(frozen: Frozen) -> list[Any]:
    made = [plan.make(identity, values) for plan, identity, values, _ in frozen.nodes]
    last, plain = None, False
    # Called for every object of a page: no check more than needed.
    for one, (plan, _, values, links) in zip(made, frozen.nodes):  # noqa: B905
        if plan is not last:
            last, plain = plan, not (plan.relations or plan.opaque or plan.loaded)
        if plain:
            continue
        state, loaded = instance_state(one), one.__dict__
        for (key, many, fill), link in zip(plan.relations, links):  # noqa: B905
            if many:
                fill(state, loaded, [made[each] for each in link])
            else:
                loaded[key] = None if link is None else made[link]
        for at in plan.opaque:
            loaded[plan.columns[at]] = copy.deepcopy(values[at])
        if plan.loaded:
            plan.loaded(state, None)
    return made


def _row(names: tuple[str, ...], values: list[Any]) -> Any:
    return IteratorResult(SimpleResultMetaData(names), iter([tuple(values)])).one()

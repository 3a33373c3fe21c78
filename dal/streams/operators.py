"""The steps that remember nothing: filter, map, flat_map, enrich."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from dal.streams.fields import Field, getter
from dal.streams.shapes import shapes_of
from dal.streams.stage import Event, Stateless

__all__ = ["LookUp", "enriched", "entity_look_up", "filtered", "flat_mapped", "mapped"]

LookUp = Callable[[Sequence[Any]], Mapping[Any, Any]]
"""Returns what it found for some keys, by key."""


def filtered(wanted: Callable[[Any], object]) -> Stateless:
    """Let through the items a function is true for.

    Args:
        wanted: The function.
    """
    return Stateless(lambda events: [event for event in events if wanted(event[0])])


def mapped(function: Callable[[Any], Any]) -> Stateless:
    """Put what a function returns in the place of each item.

    Args:
        function: The function.
    """
    return Stateless(lambda events: [(function(item), at) for item, at in events])


def flat_mapped(function: Callable[[Any], Iterable[Any]]) -> Stateless:
    """Put all that a function returns in the place of each item.

    Args:
        function: The function; it may return nothing.
    """
    return Stateless(lambda events: [(each, at) for item, at in events for each in function(item)])


def enriched(
    look_up: Callable[[Sequence[Any]], Any], by: Field, into: Callable[[Any, Any], Any], settle: Callable[[Any], Any], size: int
) -> Stateless:
    """Look up something for each item, many keys at a time.

    Args:
        look_up: Returns what it found, by key.
        by: Where an item has its key.
        into: Makes the new item of the item and what was found for it, or None.
        settle: Awaits what `look_up` returned, through the asyncio door.
        size: How many keys are looked up at a time at most.
    """
    key_of = getter(by)

    def apply(events: list[Event]) -> list[Event]:
        if not events:
            return []
        keys: list[Hashable] = list(dict.fromkeys(key for item, _ in events if (key := key_of(item)) is not None))
        found: dict[Any, Any] = {}
        for start in range(0, len(keys), size):
            found.update(settle(look_up(keys[start : start + size])))
        return [(into(item, found.get(key_of(item))), at) for item, at in events]

    return Stateless(apply)


def entity_look_up(entity: Any, sessions: Callable[[], Session]) -> LookUp:
    """Make the look-up of a mapped class by primary key: one SELECT for all keys, detached objects.

    Args:
        entity: The class.
        sessions: Makes sessions.

    Raises:
        UsageError: It is no mapped class.
    """
    (shape,) = shapes_of([entity])
    attributes = [getattr(entity, name) for name in shape.key] if shape.mapper is not None else list(entity.primary_key)

    def look_up(keys: Sequence[Any]) -> Mapping[Any, Any]:
        one = len(attributes) == 1
        where = attributes[0].in_(keys) if one else tuple_(*attributes).in_(keys)
        with sessions() as session:
            found = session.scalars(select(entity).where(where)).all() if shape.mapper is not None else []
            session.expunge_all()
        names = shape.key
        return {getattr(item, names[0]) if one else tuple(getattr(item, name) for name in names): item for item in found}

    return look_up

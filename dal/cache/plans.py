"""Plan: what was loaded of an object of a class, and how another one is made of it.

Objects of one class of which the same was loaded share a plan, so what can be found out once is found out once.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from functools import cache, cached_property
from typing import Any, NamedTuple

from sqlalchemy.orm import InstanceState, Mapper, object_session
from sqlalchemy.orm.interfaces import RelationshipDirection

from dal.cache import _internals
from dal.cache.plain import is_plain
from dal.errors import NotLoaded

__all__ = ["Plan", "Relation", "not_loaded", "plan_by_name", "plan_of", "references_of"]

_MOST = 10_000
_plans: dict[Any, Plan] = {}
_mappers: dict[str, Mapper[Any]] = {}


class Relation(NamedTuple):
    """A loaded relationship: its name, whether it holds many, and what fills it."""

    key: str
    many: bool
    fill: Callable[[InstanceState[Any], dict[str, Any], list[Any]], None]


class Plan:
    """What was loaded of objects of one class.

    Args:
        mapper: The class's mapper.
        columns: Names of the loaded column attributes.
        relations: Names of the loaded relationships.
        opaque: Which of the columns hold values that might be changed, by place.
    """

    def __init__(
        self, mapper: Mapper[Any], columns: tuple[str, ...], relations: tuple[str, ...], opaque: frozenset[int]
    ) -> None:
        self.mapper = mapper
        self.columns = columns
        self.opaque = opaque
        self.relations = tuple(
            Relation(key, bool(mapper.relationships[key].uselist), _internals.collection_filler(mapper, key))
            for key in relations
        )
        self.name = name_of(mapper)
        self.loaded: Any = mapper.class_manager.dispatch.load
        there = {*columns, *relations}
        missing = [key for key in (*mapper.column_attrs.keys(), *mapper.relationships.keys()) if key not in there]
        refusals = _internals.Refusals({key: Refusal(mapper.class_, key) for key in missing if _can_load(mapper, key)})
        self.make = _internals.instance_maker(mapper, columns, refusals)

    @cached_property
    def fingerprint(self) -> str:
        """What tells this form of the class from another version's: the loaded columns with their types, and relationships."""
        types = [f"{key}:{self.mapper.columns[key].type!r}" if key in self.mapper.columns else key for key in self.columns]
        return "|".join([self.name, *types, *(f"{each.key}:{each.many}" for each in self.relations)])


class Reference(NamedTuple):
    """A relationship that leads to an object by its primary key."""

    key: str
    target: Mapper[Any]
    columns: tuple[str, ...]

    def identity(self, loaded: dict[str, Any]) -> Any:
        """Return the identity key of what an object refers to; None where it is not known."""
        primary_key = tuple(loaded.get(each) for each in self.columns)
        return None if None in primary_key else self.target.identity_key_from_primary_key(primary_key)


@cache
def references_of(mapper: Mapper[Any]) -> tuple[Reference, ...]:
    """Return the relationships of a class that lead to one object by its primary key."""
    found = []
    for prop in mapper.relationships:
        if prop.direction is RelationshipDirection.MANYTOONE and _internals.by_primary_key(prop):
            local = {remote: mapper.get_property_by_column(own).key for own, remote in prop.local_remote_pairs or ()}
            target = prop.mapper
            if set(target.primary_key) <= set(local):
                found.append(Reference(prop.key, target, tuple(local[column] for column in target.primary_key)))
    return tuple(found)


def plan_of(state: InstanceState[Any], links: Container[str]) -> Plan:
    """Return the plan for what is loaded of an object.

    Args:
        state: The object's state.
        links: Names of the relationships that are loaded, or can be told.
    """
    mapper, loaded = state.mapper, state.dict
    columns = tuple(key for key in mapper.column_attrs.keys() if key in loaded)  # noqa: SIM118
    relations = tuple(key for key in mapper.relationships.keys() if key in links)  # noqa: SIM118
    opaque = frozenset(at for at, key in enumerate(columns) if not is_plain(loaded[key]))
    return _shared(mapper, columns, relations, opaque)


def plan_by_name(name: str, columns: tuple[str, ...], relations: tuple[str, ...], opaque: frozenset[int]) -> Plan | None:
    """Return the plan of a class that this process has kept objects of before; None for any other, which is not looked for."""
    mapper = _mappers.get(name)
    if mapper is None or not set(columns) <= set(mapper.column_attrs.keys()):
        return None
    if not set(relations) <= set(mapper.relationships.keys()):
        return None
    return _shared(mapper, columns, relations, opaque)


def name_of(mapper: Mapper[Any]) -> str:
    """Return the name that a class goes by in encoded values."""
    return f"{mapper.class_.__module__}:{mapper.class_.__qualname__}"


def _shared(mapper: Mapper[Any], columns: tuple[str, ...], relations: tuple[str, ...], opaque: frozenset[int]) -> Plan:
    key = (mapper, columns, relations, opaque)
    found = _plans.get(key)
    if found is None:
        if len(_plans) > _MOST:
            _plans.clear()
        found = _plans[key] = Plan(mapper, columns, relations, opaque)
        _mappers[found.name] = mapper
    return found


def _can_load(mapper: Mapper[Any], key: str) -> bool:
    """Tell whether a touch of the attribute would ask the database: not with write-only and dynamic relationships."""
    if key in mapper.relationships:
        return mapper.relationships[key].lazy not in {"dynamic", "write_only", "noload", None}
    return True


class Refusal:
    """Answers a touch of an attribute that is not there: in a session SQLAlchemy loads it, without one it is an error.

    Args:
        class_: The class.
        key: The attribute.
    """

    __slots__ = ("class_", "key")

    def __init__(self, class_: type, key: str) -> None:
        self.class_ = class_
        self.key = key

    def __call__(self, state: InstanceState[Any], passive: Any) -> Any:
        """Load it, or say that it cannot be loaded."""
        if object_session(state.obj()) is not None:
            return _internals.load_stock(state, self.key, passive)
        raise not_loaded(self.class_, self.key)


def not_loaded(class_: type, key: str) -> NotLoaded:
    """Return the error for a touch of what is not there."""
    name = f"{class_.__name__}.{key}"
    return NotLoaded(
        f"{name} was not loaded by the query, and an object from the cache has no session to load it with",
        hint=f"policy=eager({name}) where the query is written, or session.merge(found, load=False) before",
    )

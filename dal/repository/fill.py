"""Load what already loaded objects are missing: one statement a step, only for the objects that miss it.

A step reads the objects' keys with the attribute joined to them, so that order_by, custom joins, secondary tables and
loader criteria of the mapping hold; the session puts what comes back into the objects it already has. A plain foreign
key is followed by key instead, and costs nothing where the session holds the targets. What an object holds, changed or
not, is left alone. Up to 500 objects are one statement, more are one statement each 500.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.orm import (
    ColumnProperty,
    CompositeProperty,
    InstanceState,
    Mapper,
    QueryableAttribute,
    RelationshipProperty,
    Session,
    SynonymProperty,
    joinedload,
    load_only,
    object_session,
)
from sqlalchemy.orm.collections import collection_adapter

from dal.errors import UsageError
from dal.repository.entities import Entity, entity_of
from dal.repository.identities import among, chunks
from dal.repository.references import load_references, refers_by_key, rest_of
from dal.repository.types import Path

__all__ = ["fill"]

_PARENTS = 500


@dataclass(frozen=True)
class _End:
    """Where a path named so far ends: the class there, and the objects that were reached."""

    mapper: Mapper[Any]
    objects: Sequence[Any]


@dataclass(frozen=True)
class _Step:
    """One attribute, hung on the ends before it (counted from the entity itself, 0)."""

    attribute: QueryableAttribute[Any]
    prop: Any
    hangs_on: tuple[int, ...]


def fill(session: Session, entity: Entity[Any], objects: Iterable[Any], paths: Sequence[Path]) -> None:
    """Load the attributes that paths name, where they are not loaded.

    Raises:
        UsageError: A path is not reached, or an object is not a persistent one of this session.
    """
    steps = _plan(entity, paths)
    ends = [_End(entity.mapper, _checked(session, entity, objects))]
    for step in steps:
        sources = _distinct(each for at in step.hangs_on for each in ends[at].objects)
        owner = step.prop.parent.class_
        holders = [each for each in sources if isinstance(each, owner)]
        _load(session, entity_of(owner), step, holders)
        ends.append(_End(_target(step), _reached(step, holders)))


def _plan(entity: Entity[Any], paths: Sequence[Path]) -> list[_Step]:
    if not paths:
        raise UsageError("load got no attribute", hint=f"write load(found, {entity.name}.<relationship>)")
    steps: list[_Step] = []
    ends: list[Mapper[Any]] = [entity.mapper]
    for path in paths:
        chain = path if isinstance(path, tuple) else (path,)
        for position, attribute in enumerate(chain):
            prop = _property(attribute)
            if not isinstance(path, tuple):
                hangs_on = tuple(at for at, mapper in enumerate(ends) if _meets(mapper, prop.parent))
            else:
                before = 0 if position == 0 else len(ends) - 1
                hangs_on = (before,) if _meets(ends[before], prop.parent) else ()
            if not hangs_on:
                known = ", ".join(dict.fromkeys(mapper.class_.__name__ for mapper in ends))
                raise UsageError(
                    f"no path named before it ends at {prop.parent.class_.__name__}, so {attribute} is not reached; "
                    f"reached so far: {known}",
                    hint="name the relationships that lead there first, in order",
                )
            step = _Step(attribute, prop, hangs_on)
            steps.append(step)
            ends.append(_target(step))
    return steps


def _property(attribute: Any) -> Any:
    prop = getattr(attribute, "property", None) if isinstance(attribute, QueryableAttribute) else None
    if isinstance(prop, SynonymProperty):
        prop = prop.parent.attrs[prop.name]
    if isinstance(prop, RelationshipProperty) and prop.lazy in ("dynamic", "write_only"):
        raise UsageError(
            f"{attribute} is {prop.lazy}: it is never loaded into its object", hint="query it: object.attribute.select()"
        )
    if not isinstance(prop, (ColumnProperty, CompositeProperty, RelationshipProperty)):
        shown = str(attribute) if isinstance(attribute, QueryableAttribute) else repr(attribute)
        raise UsageError(f"load takes mapped attributes, not {shown}", hint="write load(found, User.orders, Order.items)")
    return prop


def _meets(mapper: Mapper[Any], parent: Any) -> bool:
    return bool(mapper.isa(parent) or parent.isa(mapper))


def _target(step: _Step) -> Mapper[Any]:
    # `of_type()` narrows the target of a relationship.
    target: Mapper[Any] = step.prop.parent
    if isinstance(step.prop, RelationshipProperty):
        target = inspect(step.attribute.comparator.entity).mapper  # type: ignore[attr-defined]
    return target


def _checked(session: Session, entity: Entity[Any], objects: Iterable[Any]) -> list[Any]:
    if isinstance(objects, entity.cls):
        raise UsageError("load takes a list of objects, not one", hint="write load([user], User.orders)")
    checked = [entity.member(each) for each in objects]
    for each in checked:
        state: InstanceState[Any] = inspect(each)
        if not state.persistent or object_session(each) is not session:
            raise UsageError(
                f"this {entity.name} is {_condition(state)}: there is no row that this session could load more of",
                hint="load it with this session, or bring it in with session.merge()",
            )
    return checked


def _condition(state: InstanceState[Any]) -> str:
    names = ("transient", "pending", "deleted", "detached")
    return next((name for name in names if getattr(state, name)), "in another session")


def _distinct(objects: Iterable[Any]) -> list[Any]:
    return list({id(each): each for each in objects}.values())


def _load(session: Session, owner: Entity[Any], step: _Step, holders: Sequence[Any]) -> None:
    names = _names(step)
    missing = [state for state in map(inspect, holders) if names & state.unloaded and state.identity is not None]
    if step.attribute is step.prop.class_attribute and isinstance(step.prop, RelationshipProperty) and refers_by_key(step.prop):
        missing = load_references(session, step.prop, missing, _PARENTS)
    if isinstance(step.prop, RelationshipProperty):
        options = [load_only(*owner.key), joinedload(step.attribute)]
    else:
        options = [load_only(*(getattr(owner.cls, name) for name in names))]
    idents = [tuple(state.identity or ()) for state in missing]
    for part in chunks(idents, len(owner.key), size=_PARENTS * len(owner.key)):
        statement = select(owner.cls).where(among(owner.key, part)).options(*options, rest_of(missing))
        session.scalars(statement).unique().all()


def _names(step: _Step) -> set[str]:
    if isinstance(step.prop, CompositeProperty):
        return {each.key for each in step.prop.props}
    return {step.prop.key}


def _reached(step: _Step, holders: Sequence[Any]) -> list[Any]:
    if not isinstance(step.prop, RelationshipProperty):
        return list(holders)
    found: list[Any] = []
    for each in holders:
        value = inspect(each).dict.get(step.prop.key)
        if value is None:
            continue
        found.extend(collection_adapter(value) if step.prop.uselist else (value,))
    return _distinct(found)

"""Many-to-one by primary key: the targets of many objects, from the session where it holds them, else in one query.

A step of `load` uses it where a relationship is nothing but a foreign key to a primary key. Five thousand flights of
sixteen airlines need sixteen keys, not five thousand joined rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from sqlalchemy import BinaryExpression, BooleanClauseList, ColumnElement, inspect, select
from sqlalchemy.orm import InstanceState, RelationshipProperty, Session
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.orm.interfaces import MANYTOONE
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.expression import ColumnClause

from dal.loading import Policy
from dal.loading.watch import policy_of
from dal.repository.entities import entity_of
from dal.repository.identities import among, chunks

__all__ = ["load_references", "refers_by_key", "rest_of"]


def refers_by_key(prop: RelationshipProperty[Any]) -> bool:
    """Tell whether a relationship is nothing but a foreign key to its target's primary key."""
    if prop.direction is not MANYTOONE or prop.secondary is not None or not prop.entity.is_mapper:
        return False
    remote = {column for _, column in prop.local_remote_pairs or ()}
    nodes = list(visitors.iterate(prop.primaryjoin))
    equalities = [node for node in nodes if isinstance(node, BinaryExpression)]
    return (
        remote == set(prop.mapper.primary_key)
        and len(equalities) == len(remote)
        and all(node.operator is operators.eq for node in equalities)
        and all(isinstance(node, (BinaryExpression, ColumnClause)) or _is_and(node) for node in nodes)
    )


def load_references(
    session: Session, prop: RelationshipProperty[Any], states: Iterable[InstanceState[Any]], size: int
) -> list[InstanceState[Any]]:
    """Set a many-to-one relationship on the objects that do not have it.

    Args:
        session: The objects' own.
        prop: The relationship; `refers_by_key` is true of it.
        states: The objects.
        size: How many targets one statement asks for at most.

    Returns:
        The objects whose foreign key is not loaded, which were left alone.
    """
    waiting: dict[tuple[Any, ...], list[InstanceState[Any]]] = {}
    unknown = []
    names = _local_names(prop)
    for state in states:
        if not names <= state.dict.keys():
            unknown.append(state)
            continue
        waiting.setdefault(_reference(prop, state), []).append(state)
    found = _held(session, prop, waiting)
    target = entity_of(prop.mapper.class_)
    rest = rest_of([state for holders in waiting.values() for state in holders])
    missing = [ident for ident in waiting if ident not in found and None not in ident]
    for part in chunks(missing, len(target.key), size * len(target.key)):
        for loaded in session.scalars(select(target.cls).where(among(target.key, part)).options(rest)).unique():
            found[tuple(target.mapper.primary_key_from_instance(loaded))] = loaded
    for ident, holders in waiting.items():
        for state in holders:
            set_committed_value(state.obj(), prop.key, found.get(ident))
    return unknown


def rest_of(states: Sequence[InstanceState[Any]]) -> Policy:
    """Return what a step's statement carries on: the `otherwise` of the objects it is for, and no paths of its own."""
    carried = policy_of(states[0]) if states else None
    return Policy(mode=carried.mode if carried else None, sealed=True)


def _is_and(node: Any) -> bool:
    return isinstance(node, BooleanClauseList) and node.operator is operators.and_


def _local_names(prop: RelationshipProperty[Any]) -> set[str]:
    return {_name_of(prop, local) for local, _ in prop.local_remote_pairs or ()}


def _name_of(prop: RelationshipProperty[Any], column: ColumnElement[Any]) -> str:
    return str(prop.parent.get_property_by_column(cast("Any", column)).key)


def _reference(prop: RelationshipProperty[Any], state: InstanceState[Any]) -> tuple[Any, ...]:
    by_column = {remote: state.dict[_name_of(prop, local)] for local, remote in prop.local_remote_pairs or ()}
    return tuple(by_column[column] for column in prop.mapper.primary_key)


def _held(session: Session, prop: RelationshipProperty[Any], idents: Iterable[Sequence[Any]]) -> dict[Any, Any]:
    held = {}
    for ident in idents:
        target = session.identity_map.get(prop.mapper.identity_key_from_primary_key(tuple(ident)))
        if isinstance(target, prop.mapper.class_) and not inspect(target).expired:
            held[ident] = target
    return held

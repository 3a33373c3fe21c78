"""Frozen: a value as a cache keeps it, apart from any session, and never changed again.

Mapped objects become nodes: their class, identity, loaded columns and loaded relationships; an object that is there twice
stays one. Rows, tuples, lists, sets and dictionaries keep their form around them. `copies`, `shapes` and `dictionaries` make
values of it again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import Row, inspect
from sqlalchemy.orm import InstanceState

from dal.cache import _internals
from dal.cache.plain import is_plain
from dal.cache.plans import Plan, plan_of, references_of
from dal.errors import UsageError

__all__ = ["FORMS", "Frozen", "Many", "Node", "Opaque", "Pairs", "Ref", "freeze", "rebuild"]


class Node(NamedTuple):
    """A mapped object: plan, identity key, the values of `plan.columns`, and the places of what `plan.relations` lead to."""

    plan: Plan
    identity: Any
    values: tuple[Any, ...]
    links: tuple[Any, ...]


class Ref(NamedTuple):
    """The place of an object among the nodes."""

    place: int


class Many(NamedTuple):
    """A collection, `kind` one of list, tuple, set and frozenset, or the names of a row's columns."""

    kind: Any
    items: tuple[Any, ...]


class Pairs(NamedTuple):
    """A dictionary."""

    keys: tuple[Any, ...]
    items: tuple[Any, ...]


class Opaque(NamedTuple):
    """A value that might be changed: every reader gets a copy."""

    value: Any


FORMS = frozenset({Ref, Many, Pairs, Opaque})
"""What a part of a value is, where it is not plain."""


class Frozen(NamedTuple):
    """A value: the objects in it, and the form around them."""

    nodes: tuple[Node, ...]
    root: Any


def freeze(value: Any) -> Frozen:
    """Take a value apart.

    Args:
        value: Mapped objects, rows, and plain values, in lists, tuples, sets and dictionaries.

    Returns:
        It, with nothing that a session or a reader could still change.

    Raises:
        UsageError: There is something in it that cannot be kept, such as an open result or an object that was not loaded.
    """
    freezer = _Freezer()
    root = freezer.value(value)
    return Frozen(freezer.finish(), root)


class _Freezer:
    def __init__(self) -> None:
        self._places: dict[InstanceState[Any], int] = {}
        self._states: list[InstanceState[Any]] = []

    def value(self, value: Any) -> Any:
        if is_plain(value):
            return value
        kind = type(value)
        if kind is list or kind is tuple or kind is set or kind is frozenset:
            return self._many(kind, value)
        if kind is dict:
            return Pairs(tuple(value), tuple(self.value(each) for each in value.values()))
        if isinstance(value, Row):
            return Many(tuple(value._fields), tuple(self.value(each) for each in value))
        state = inspect(value, raiseerr=False)
        if isinstance(state, InstanceState):
            return Ref(self.place(state))
        if callable(value) or hasattr(value, "__next__") or hasattr(value, "fetchone"):
            raise UsageError(
                f"a {kind.__name__} cannot be kept in a cache",
                hint="let the function return rows, mapped objects or plain values: .all(), not an open result",
            )
        return Opaque(_copied(value))

    def _many(self, kind: Any, value: Any) -> Any:
        items = tuple(self.value(each) for each in value)
        immutable = kind is tuple or kind is frozenset
        return value if immutable and all(map(is_plain, items)) else Many(kind, items)

    def place(self, state: InstanceState[Any]) -> int:
        found = self._places.get(state)
        if found is None:
            if _internals.identity_of(state) is None or state.modified:
                raise UsageError(
                    f"{state.class_.__name__} was made or changed by the function that loads it, and cannot be kept in a cache",
                    hint="only read in it; write in a transaction of its own",
                )
            found = self._places[state] = len(self._states)
            self._states.append(state)
        return found

    def finish(self) -> tuple[Node, ...]:
        """Follow what is loaded from object to object; `_states` grows on the way."""
        links = [self._links(state) for state in self._states]
        places = {_internals.identity_of(state): place for state, place in self._places.items()}
        nodes = []
        for state, own in zip(self._states, links, strict=True):
            for reference in references_of(state.mapper):
                if reference.key not in own:
                    # In a session it would be found without a query.
                    place = places.get(reference.identity(state.dict))
                    if place is not None:
                        own[reference.key] = place
            nodes.append(self._node(state, own))
        return tuple(nodes)

    def _node(self, state: InstanceState[Any], links: dict[str, Any]) -> Node:
        plan = plan_of(state, links)
        values = tuple(state.dict[key] for key in plan.columns)
        if plan.opaque:
            values = tuple(_copied(each) if at in plan.opaque else each for at, each in enumerate(values))
        return Node(plan, _internals.identity_of(state), values, tuple(links[relation.key] for relation in plan.relations))

    def _links(self, state: InstanceState[Any]) -> dict[str, Any]:
        links: dict[str, Any] = {}
        for prop in state.mapper.relationships:
            if prop.key not in state.dict:
                continue
            target = state.dict[prop.key]
            if prop.uselist:
                links[prop.key] = tuple(self.place(inspect(each)) for each in _internals.members(target))
            else:
                links[prop.key] = None if target is None else self.place(inspect(target))
        return links


def rebuild(form: Any, objects: list[Any], row: Callable[[tuple[str, ...], list[Any]], Any]) -> Any:
    """Put a value together again.

    Args:
        form: The form, or a part of it.
        objects: What stands for the nodes now.
        row: Makes a row of its names and values.

    Returns:
        The value.
    """
    kind = type(form)
    if kind is Ref:
        return objects[form[0]]
    if kind is Many:
        items = [objects[each[0]] if type(each) is Ref else rebuild(each, objects, row) for each in form.items]
        if form.kind is list:
            return items
        return row(form.kind, items) if type(form.kind) is tuple else form.kind(items)
    if kind is Pairs:
        return dict(zip(form.keys, (rebuild(each, objects, row) for each in form.items), strict=True))
    return _copied(form.value) if kind is Opaque else form


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception as error:
        raise UsageError(
            f"a {type(value).__name__} cannot be kept in a cache: it cannot be copied ({error})",
            hint="let the function return rows, mapped objects or plain values",
        ) from error

"""Shape: a mapped object as something that nobody can change."""

from __future__ import annotations

import copy
from types import MappingProxyType
from typing import Any

from sqlalchemy.engine import IteratorResult
from sqlalchemy.engine.result import SimpleResultMetaData

from dal.cache.frozen import Frozen, Many, Opaque, Pairs, Ref
from dal.cache.plans import Plan, not_loaded
from dal.errors import UsageError

__all__ = ["Shape", "shaped"]

_classes: dict[Plan, type[Shape]] = {}


class Shape:
    """What was loaded of an object: attributes of the same names, which cannot be set.

    Classes of it are made for each class and what was loaded of it.
    """

    __slots__ = ("__weakref__",)

    _plan: Plan

    def __getattr__(self, name: str) -> Any:
        plan = type(self)._plan
        if name in plan.mapper.all_orm_descriptors:
            raise not_loaded(plan.mapper.class_, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise UsageError(
            f"a shape of {type(self)._plan.mapper.class_.__name__} cannot be changed: others read it too",
            hint="ask for form=copies to get objects of your own",
        )

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}={getattr(self, key)!r}" for key in type(self)._plan.columns)
        return f"{type(self).__name__}({shown})"


def shaped(frozen: Frozen) -> Any:
    """Make shapes of a value.

    Args:
        frozen: The value.

    Returns:
        The value with shapes for objects, tuples for lists, and read-only mappings for dictionaries.
    """
    objects: list[Any] = [_class_of(node.plan).__new__(_class_of(node.plan)) for node in frozen.nodes]
    for made, node in zip(objects, frozen.nodes, strict=True):
        for at, (key, value) in enumerate(zip(node.plan.columns, node.values, strict=True)):
            object.__setattr__(made, key, _fixed(value) if at in node.plan.opaque else value)
        for relation, link in zip(node.plan.relations, node.links, strict=True):
            there = tuple(objects[each] for each in link) if relation.many else None if link is None else objects[link]
            object.__setattr__(made, relation.key, there)
    return _form(frozen.root, objects)


def _class_of(plan: Plan) -> type[Shape]:
    found = _classes.get(plan)
    if found is None:
        slots = (*plan.columns, *(relation.key for relation in plan.relations))
        body = {"__slots__": slots, "_plan": plan, "__module__": plan.mapper.class_.__module__, "__doc__": Shape.__doc__}
        found = _classes[plan] = type(plan.mapper.class_.__name__, (Shape,), body)
    return found


def _form(form: Any, objects: list[Any]) -> Any:
    kind = type(form)
    if kind is Ref:
        return objects[form[0]]
    if kind is Many:
        items = tuple(_form(each, objects) for each in form.items)
        if type(form.kind) is tuple:
            return IteratorResult(SimpleResultMetaData(form.kind), iter([items])).one()
        return items if form.kind in {list, tuple} else frozenset(items)
    if kind is Pairs:
        return MappingProxyType(dict(zip(form.keys, (_form(each, objects) for each in form.items), strict=True)))
    return _fixed(form.value) if kind is Opaque else form


def _fixed(value: Any) -> Any:
    """Return a value that cannot be changed, where its kind is known; else a copy."""
    if isinstance(value, dict):
        return MappingProxyType({key: _fixed(each) for key, each in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(map(_fixed, value))
    if isinstance(value, (set, frozenset)):
        return frozenset(map(_fixed, value))
    return copy.deepcopy(value)

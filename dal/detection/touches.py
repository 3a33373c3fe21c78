"""Which eagerly loaded relationships are read: chosen attributes are watched until their first read, then never again.

Only relationships that a statement in an open scope loads eagerly are watched; reading one costs about 200 ns more until then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy.orm import InstrumentedAttribute, RelationshipProperty

from dal.detection import _internals

__all__ = ["Watcher", "unwatch", "watch"]


class Watcher(Protocol):
    """Who wants to know that a relationship was read."""

    def touched(self, relationship: RelationshipProperty[Any]) -> None:
        """Take note that it was read."""


class _Watched(InstrumentedAttribute[Any]):
    """A mapped attribute that reports its first read."""

    __slots__ = ()
    inherit_cache = True

    def __get__(self, instance: object | None, owner: Any) -> Any:
        if instance is not None:
            _report(self.prop)
        return InstrumentedAttribute.__get__(self, instance, owner)  # the report gave the class back

    def __set__(self, instance: object, value: Any) -> None:
        _report(self.prop)
        InstrumentedAttribute.__set__(self, instance, value)


_lock = threading.Lock()
_watchers: dict[RelationshipProperty[Any], set[Watcher]] = {}
_undo: dict[RelationshipProperty[Any], list[Callable[[], None]]] = {}


def watch(relationship: RelationshipProperty[Any], watcher: Watcher) -> None:
    """Tell `watcher` when the relationship is read the next time, on any object.

    Args:
        relationship: The mapped relationship.
        watcher: Who wants to know; told at most once.
    """
    with _lock:
        _watchers.setdefault(relationship, set()).add(watcher)
        if relationship not in _undo:
            _undo[relationship] = [
                _internals.swap_class(attribute, _Watched)
                for mapper in relationship.parent.self_and_descendants
                if type(attribute := mapper.class_.__dict__.get(relationship.key)) is InstrumentedAttribute
            ]


def unwatch(relationship: RelationshipProperty[Any], watcher: Watcher) -> None:
    """Stop telling `watcher` about the relationship."""
    with _lock:
        watchers = _watchers.get(relationship, set())
        watchers.discard(watcher)
        if not watchers:
            _restore(relationship)


def _report(relationship: Any) -> None:
    with _lock:
        watchers = _watchers.get(relationship, set())
        _restore(relationship)
    for watcher in watchers:
        watcher.touched(relationship)


def _restore(relationship: RelationshipProperty[Any]) -> None:
    """Give the attributes their own class back; the caller holds the lock."""
    _watchers.pop(relationship, None)
    for undo in _undo.pop(relationship, ()):
        undo()

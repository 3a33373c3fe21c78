"""Which attributes are read: chosen ones are watched until their first read, then never again.

Only what a statement in an open scope loads eagerly is watched, with the columns of the objects that have it (and those of wide
rows, where that is asked for); the first read costs about a microsecond, the others nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy.orm import InstrumentedAttribute, MapperProperty

from dal.detection import _internals

__all__ = ["Watcher", "unwatch", "watch"]


class Watcher(Protocol):
    """Who wants to know that an attribute was read."""

    def touched(self, prop: MapperProperty[Any]) -> None:
        """Take note that it was read."""


class _Watched(InstrumentedAttribute[Any]):  # pyright: ignore[reportIncompatibleVariableOverride]
    # A mapped attribute that reports its first read; `__doc__` is a name of the class it stands in for.
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
_watchers: dict[MapperProperty[Any], set[Watcher]] = {}
_undo: dict[MapperProperty[Any], list[Callable[[], None]]] = {}


def watch(prop: MapperProperty[Any], watcher: Watcher) -> None:
    """Tell `watcher` when the attribute is read the next time, on any object.

    Args:
        prop: The mapped attribute.
        watcher: Who wants to know; told at most once.
    """
    with _lock:
        _watchers.setdefault(prop, set()).add(watcher)
        if prop not in _undo:
            _undo[prop] = [
                _internals.swap_class(attribute, _Watched)
                for mapper in prop.parent.self_and_descendants
                if type(attribute := mapper.class_.__dict__.get(prop.key)) is InstrumentedAttribute
            ]


def unwatch(prop: MapperProperty[Any], watcher: Watcher) -> None:
    """Stop telling `watcher` about the attribute."""
    with _lock:
        watchers = _watchers.get(prop, set())
        watchers.discard(watcher)
        if not watchers:
            _restore(prop)


def _report(prop: Any) -> None:
    with _lock:
        watchers = _watchers.get(prop, set())
        _restore(prop)
    for watcher in watchers:
        watcher.touched(prop)


def _restore(prop: MapperProperty[Any]) -> None:
    """Give the attributes their own class back; the caller holds the lock."""
    _watchers.pop(prop, None)
    for undo in _undo.pop(prop, ()):
        undo()

"""A forked child must not touch its parent's objects: it forgets them, and its pools begin anew."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dal.pool.core import Core

__all__ = ["watch"]

_pools: weakref.WeakSet[Core[Any]] = weakref.WeakSet()
_registered = False


def watch(core: Core[Any]) -> None:
    """See to it that a forked child leaves the objects of this pool alone."""
    global _registered
    _pools.add(core)
    if not _registered and hasattr(os, "register_at_fork"):
        _registered = True
        os.register_at_fork(after_in_child=_in_child)


def _in_child() -> None:
    for core in list(_pools):
        _forget(core)


def _forget(core: Core[Any]) -> None:
    inherited = list(core.shelf.entries)
    core.shelf.reset()
    core.maker.reset()
    core.runtime.reset()
    for entry in inherited:
        entry.retire_at = entry.surplus = 0.0
        core.hooks.orphan(entry.thing)

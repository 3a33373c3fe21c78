"""A forked child has none of its parent's threads: its prefetchers begin anew."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dal.prefetch.prefetcher import Prefetcher

__all__ = ["watch"]

_alive: weakref.WeakSet[Prefetcher] = weakref.WeakSet()
_registered = False


def watch(prefetcher: Prefetcher) -> None:
    """See to it that a prefetcher begins anew in a forked child."""
    global _registered
    _alive.add(prefetcher)
    if not _registered and hasattr(os, "register_at_fork"):
        _registered = True
        os.register_at_fork(after_in_child=_in_child)


def _in_child() -> None:
    for prefetcher in list(_alive):
        prefetcher.reset()

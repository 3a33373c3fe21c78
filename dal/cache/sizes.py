"""How much memory a value takes: what Python says of each object in it, with what its allocator adds."""

from __future__ import annotations

import sys
from typing import Any

from dal.cache.frozen import Frozen
from dal.cache.plans import Plan

__all__ = ["ENTRY", "TAG", "size_of"]

ENTRY = 780
"""Bytes that an entry takes beside its value and its key: itself, its places in the store, its snapshot."""
TAG = 160
"""Bytes for each table that an entry comes from."""

_SHARED = frozenset({type(None), bool, type, Plan})
_SMALL = range(-5, 257)


def size_of(*values: Any) -> int:
    """Estimate what values take in memory.

    Args:
        values: Frozen values, keys, shapes; what is in several of them counts once.

    Returns:
        Bytes.
    """
    seen: set[int] = set()
    total = 0
    waiting: list[Any] = list(values)
    while waiting:
        value = waiting.pop()
        kind = type(value)
        if kind in _SHARED or id(value) in seen or (kind is int and value in _SMALL):
            continue
        seen.add(id(value))
        total += (sys.getsizeof(value) + 15) & ~15
        if isinstance(value, (tuple, list, set, frozenset, Frozen)):
            waiting += value
        elif isinstance(value, dict):
            waiting += value
            waiting += value.values()
        elif isinstance(value, type):
            total -= sys.getsizeof(value)
        else:
            waiting += getattr(value, "__dict__", {}).values()
            waiting += [getattr(value, name) for name in getattr(kind, "__slots__", ()) if hasattr(value, name)]
    return total

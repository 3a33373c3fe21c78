"""Bounded(...): a dictionary that forgets what was longest unused."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

__all__ = ["Bounded"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """Keep the most recently used entries.

    Args:
        most: How many.

    Example:
        >>> kept = Bounded[str, int](2)
        >>> for name in "abc":
        ...     _ = kept.get_or_make(name, lambda: 0)
        >>> list(kept)
        ['b', 'c']
    """

    __slots__ = ("_entries", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[K]:
        return iter(self._entries)

    def items(self) -> list[tuple[K, V]]:
        """Return keys and values, the longest unused first."""
        return list(self._entries.items())

    def values(self) -> list[V]:
        """Return what is kept, the longest unused first."""
        return list(self._entries.values())

    def get(self, key: K) -> V | None:
        """Return an entry, which counts as a use, or None."""
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: K, value: V) -> V | None:
        """Keep a value, and return what was forgotten for it."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self.most:
            return self._entries.popitem(last=False)[1]
        return None

    def get_or_make(self, key: K, make: Callable[[], V]) -> V:
        """Return an entry, made if it is not there."""
        found = self.get(key)
        if found is None:
            found = make()
            self.put(key, found)
        return found

    def pop(self, key: K) -> V | None:
        """Forget an entry and return it, or None."""
        return self._entries.pop(key, None)

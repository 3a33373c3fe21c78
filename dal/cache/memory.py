"""MemoryStore: entries by key, bounded by number and by bytes, the least recently used go first.

It stores and forgets; what may be kept, others decide. Whoever calls holds the cache's lock.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Hashable
from time import monotonic

from dal.cache.entry import Entry
from dal.cache.settings import MemoryCache
from dal.durations import seconds

__all__ = ["MemoryStore"]


class MemoryStore:
    """Entries by key.

    Args:
        settings: Its bounds, and how long entries last.
    """

    def __init__(self, settings: MemoryCache) -> None:
        self.settings = settings
        self._ttl, self._stale = seconds(settings.ttl, name="ttl"), seconds(settings.stale, name="stale")
        self.entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self.bytes = 0
        self.evicted = self.spoiled = self.oversized = 0
        self._tagged: dict[str, set[Hashable]] = {}

    def put(self, key: Hashable, entry: Entry) -> bool:
        """Keep an entry, and let go of others for it; False where it alone is larger than the bound."""
        self.remove(key)
        settings = self.settings
        if entry.size > settings.max_bytes:
            self.oversized += 1
            return False
        entry.fresh_until = monotonic() + self._ttl * (1.0 - settings.jitter * random.random())
        entry.usable_until = entry.fresh_until + self._stale
        self.entries[key] = entry
        self.bytes += entry.size
        for table in entry.tables:
            self._tagged.setdefault(table, set()).add(key)
        self._make_room()
        return True

    def grow(self, key: Hashable, entry: Entry, size: int) -> None:
        """Note that an entry takes more than it did."""
        if self.entries.get(key) is entry:
            entry.size += size
            self.bytes += size
            self._make_room()

    def remove(self, key: Hashable) -> None:
        """Forget a key; unknown ones too."""
        entry = self.entries.pop(key, None)
        if entry is not None:
            self._let_go(key, entry)

    def drop(self, tables: frozenset[str] | None, unless: Callable[[Entry], bool] | None = None) -> None:
        """Forget what comes from tables.

        Args:
            tables: Their names; None is all of them.
            unless: Tells which entries stay.
        """
        keys = self.entries if tables is None else set().union(*(self._tagged.get(table, ()) for table in tables))
        for key in list(keys):
            if unless is None or not unless(self.entries[key]):
                self.remove(key)
                self.spoiled += 1

    def _make_room(self) -> None:
        while self.bytes > self.settings.max_bytes or len(self.entries) > self.settings.max_entries:
            key, entry = self.entries.popitem(last=False)
            self._let_go(key, entry)
            self.evicted += 1

    def _let_go(self, key: Hashable, entry: Entry) -> None:
        self.bytes -= entry.size
        for table in entry.tables:
            keys = self._tagged[table]
            keys.discard(key)
            if not keys:
                del self._tagged[table]

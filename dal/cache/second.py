"""SecondLevel: entries in Redis, encoded, under names that hold for one life of one server and one form of its values."""

from __future__ import annotations

from collections.abc import Hashable

from dal.cache import codec
from dal.cache.entry import Entry
from dal.cache.redis import RemoteStore
from dal.cache.shelf import Shelf
from dal.cache.sizes import ENTRY, TAG, size_of

__all__ = ["SecondLevel"]


class SecondLevel:
    """Entries that processes share.

    Args:
        remote: Where they are.
        prefix: What the names begin with.
        shelf: Knows the life of the server.
    """

    def __init__(self, remote: RemoteStore, prefix: str, shelf: Shelf) -> None:
        self.unshared = self.damaged = 0
        self._remote = remote
        self._prefix = prefix
        self._shelf = shelf

    @property
    def errors(self) -> int:
        """How often there was no answer, or one that is no entry."""
        return self._remote.errors + self.damaged

    def get(self, key: Hashable, since: int) -> Entry | None:
        """Return what is there under a key; whether it may be used is for the shelf to say.

        Args:
            key: The key.
            since: The guard's clock.
        """
        name = self._name(key)
        data = None if name is None else self._remote.get(name)
        if name is None or data is None:
            return None
        self.damaged += not codec.intact(name, data)
        found = codec.decode(name, data)
        if found is None:
            return None
        frozen, tables, snapshot = found
        entry = Entry(frozen, tables, snapshot, size_of(key, frozen) + ENTRY + TAG * len(tables))
        entry.since = since
        return entry

    def put(self, key: Hashable, entry: Entry) -> None:
        """Leave an entry there, if it has an encoding."""
        name = self._name(key)
        if name is None or entry.snapshot is None:
            return
        try:
            data = codec.encode(name, entry.frozen, entry.tables, entry.snapshot)
        except codec.Unencodable:
            self.unshared += 1
            return
        self._remote.put(name, data)

    def close(self) -> None:
        """Close the connections."""
        self._remote.close()

    def _name(self, key: Hashable) -> str | None:
        life = self._shelf.life
        try:
            return f"{self._prefix}:{codec.key_name((life, key))}" if life else None
        except codec.Unencodable:
            self.unshared += 1
            return None

"""Shelf: what is kept, and everything that spoils it, under one lock.

It hears of writes from the engines of this process (`Writes`) and from the other processes (`Listener`), and decides with the
guard what may be kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from time import monotonic

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dal.cache.bus import CHANNEL, Bus, Heard
from dal.cache.entry import Entry
from dal.cache.guard import Guard, Origin
from dal.cache.memory import MemoryStore
from dal.cache.messages import message
from dal.cache.settings import MemoryCache
from dal.cache.snapshot import Snapshot
from dal.cache.tables import with_cascades
from dal.errors import UsageError
from dal.own_statements import ask

__all__ = ["Shelf"]

_FAILED = "25P02"


class Shelf:
    """What is kept of one database in this process.

    Args:
        memory: Its bounds; None keeps nothing here.
        bus: Makes the connection to other processes, given who listens; None where the database has none.
    """

    def __init__(self, memory: MemoryCache | None, bus: Callable[[Shelf], Bus] | None) -> None:
        self.store = None if memory is None else MemoryStore(memory)
        self.hits = self.fills = self.refused = self.restarts = 0
        self.life = ""
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict() if self.store is None else self.store.entries
        self._make_bus = bus
        self.bus: Bus | None = None
        self.reset()

    def reset(self) -> None:
        """Begin anew: a forked child has neither its parent's thread nor its locks."""
        self._lock = threading.Lock()
        self._guard = Guard()
        if self.bus is not None:
            self.bus.abandon()
        self.bus = None if self._make_bus is None else self._make_bus(self)
        self._drop(None)

    @property
    def trusted(self) -> bool:
        """Whether what is kept can be known to be right: where there is a bus, it listens."""
        return self.bus is None or self.bus.listening

    def get(self, key: Hashable) -> Entry | None:
        """Return what is kept under a key."""
        entries = self._entries
        with self._lock:
            try:
                entry = entries.get(key)
            except TypeError as error:
                raise UsageError(
                    f"{key!r} cannot be a key of the cache: {error}", hint="write a text, or a tuple of plain values"
                ) from None
            if entry is not None:
                entries.move_to_end(key)
                self.hits += 1
        return entry

    def look(self, key: Hashable) -> Entry | None:
        """Return what is kept under a key, which does not count as a use."""
        return self._entries.get(key)

    def unused(self, key: Hashable, entry: Entry) -> None:
        """Take back a `get`, since the time of what it gave is over; drop it where it cannot even be served stale."""
        with self._lock:
            self.hits -= 1
            if self.store is not None and entry.usable_until <= monotonic():
                self.store.remove(key)

    def now(self) -> int:
        """Return the guard's clock, for a reading that begins."""
        return self._guard.clock

    def admits(self, entry: Entry) -> bool:
        """Tell whether what was read is right still."""
        with self._lock:
            return entry.clean and self._guard.admits(Origin(entry.tables, entry.since, entry.snapshot))

    def keep(self, key: Hashable, entry: Entry, since: int) -> bool:
        """Keep what was read, if it may be; tells whether it may.

        Args:
            key: Its key.
            entry: It.
            since: The clock when its reading began.
        """
        with self._lock:
            allowed = entry.clean and self.trusted and self._guard.admits(Origin(entry.tables, since, entry.snapshot))
            return self._kept(key, entry, allowed)

    def keep_foreign(self, key: Hashable, entry: Entry) -> bool:
        """Keep what another process has read, if it may be; tells whether it may."""
        assert entry.snapshot is not None
        with self._lock:
            allowed = self.trusted and self._guard.admits_foreign(entry.tables, entry.snapshot)
            return self._kept(key, entry, allowed)

    def grow(self, key: Hashable, entry: Entry, size: int) -> None:
        """Note that an entry takes more than it did."""
        with self._lock:
            if self.store is not None:
                self.store.grow(key, entry, size)

    def forget(self, key: Hashable) -> None:
        """Drop a key."""
        with self._lock:
            if self.store is not None:
                self.store.remove(key)

    def clear(self) -> None:
        """Drop everything in this process."""
        with self._lock:
            self._guard.spoil(None)
            self._drop(None)

    def committing(self, connection: Connection, tables: frozenset[str] | None) -> None:
        """Have a commit carry its message itself while the bus does not listen."""
        bus = self.bus
        if bus is None or bus.listening:
            return
        try:
            ask(connection, "SELECT pg_notify(%s, %s)", CHANNEL, message(bus.sender, tables))
        except DBAPIError as error:
            # A transaction that has failed commits nothing, so there is nothing to tell.
            if getattr(error.orig, "sqlstate", None) != _FAILED:
                raise

    def committed(self, tables: frozenset[str] | None, *, doubtful: bool) -> None:
        """Drop what was written here, and tell the others, which may know of more foreign keys."""
        spoiled = None if tables is None else with_cascades(tables)
        with self._lock:
            self._guard.spoil(spoiled)
            self._drop(spoiled)
            until = 0
            if self.bus is not None:
                until = self._guard.unsettle(["*"] if spoiled is None else spoiled)
        if self.bus is not None:
            self.bus.tell(None if tables is None or spoiled is None else tables | spoiled, until, doubtful=doubtful)

    def began(self, floor: Snapshot, life: str) -> None:
        """Trust nothing of before; from now on everything is heard."""
        self._restart(floor)
        self.life = life

    def lost(self) -> None:
        """Trust nothing: writes may go unheard from now on."""
        self._restart(None)

    def missed(self, floor: Snapshot) -> None:
        """Trust nothing of before: a process ended without saying what it wrote last."""
        self._restart(floor)

    def heard(self, news: Heard) -> None:
        """Drop what another process wrote, unless it was read later than that."""
        tables = None if news.tables is None else with_cascades(news.tables)
        with self._lock:
            self._guard.raise_floor(["*"] if tables is None else tables, news.snapshot)
            if self.store is not None:
                self.store.drop(
                    tables, unless=lambda entry: entry.snapshot is not None and entry.snapshot.covers(news.snapshot)
                )

    def settled(self, tables: frozenset[str] | None, until: int, snapshot: Snapshot) -> None:
        """Note a snapshot that sees what was written here."""
        with self._lock:
            self._guard.settle(["*"] if tables is None else tables, until, snapshot)

    def _restart(self, floor: Snapshot | None) -> None:
        with self._lock:
            self.restarts += 1
            self._guard.restart(floor)
            self._drop(None)

    def _kept(self, key: Hashable, entry: Entry, allowed: bool) -> bool:
        """Keep an entry that may be kept. The lock is held."""
        if not allowed:
            self.refused += 1
            return False
        self.fills += 1
        entry.kept = True
        if self.store is not None:
            self.store.put(key, entry)
        return True

    def _drop(self, tables: frozenset[str] | None) -> None:
        """Drop what comes from tables. The lock is held."""
        if self.store is not None:
            self.store.drop(tables)


def _read_later(entry: Entry, snapshot: Snapshot) -> bool:
    return entry.snapshot is not None and entry.snapshot.covers(snapshot)

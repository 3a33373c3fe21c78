"""Guard: whether a value that was read then may be kept now.

Two clocks answer. Inside the process every write counts one up (`spoil`): a value is kept only if none of its tables was
written since its reading began. Between processes on PostgreSQL a write is known by a snapshot that sees it (`raise_floor`):
a value is kept only if the snapshot it was read in covers the floors of its tables. In what order the news arrive is no matter.

Whoever calls holds the cache's lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dal.cache.snapshot import Snapshot

__all__ = ["Guard", "Origin"]

_MOST_TABLES = 10_000


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from.

    Attributes:
        tables: The tables it was read from.
        since: The guard's clock when its reading began.
        snapshot: What it was read in; None where the database has no snapshots.
    """

    tables: frozenset[str]
    since: int
    snapshot: Snapshot | None


class Guard:
    """What was written, as far as this process knows."""

    def __init__(self) -> None:
        self.clock = 0
        self._written: dict[str, int] = {}
        self._all_written = 0
        self._floors: dict[str, Snapshot] = {}
        self._own_floors: dict[str, Snapshot] = {}
        self._floor: Snapshot | None = None
        self._unsettled: dict[str, int] = {}

    @property
    def size(self) -> int:
        """How many names it holds; bounded, since text may name anything."""
        return len(self._written) + len(self._floors) + len(self._own_floors) + len(self._unsettled)

    def spoil(self, tables: frozenset[str] | None) -> None:
        """Note a write of this process that was just committed; None means any table."""
        self.clock += 1
        if tables is None or len(self._written) > _MOST_TABLES:
            self._all_written = self.clock
            self._written.clear()
        else:
            self._written.update(dict.fromkeys(tables, self.clock))

    def unsettle(self, tables: Iterable[str]) -> int:
        """Note that own writes are committed of which no snapshot is known yet; returns what `settle` is given."""
        self._unsettled.update(dict.fromkeys(tables, self.clock))
        return self.clock

    def settle(self, tables: Iterable[str], until: int, snapshot: Snapshot) -> None:
        """Note a snapshot that sees the own writes up to a moment of the clock."""
        for table in tables:
            if self._unsettled.get(table, until + 1) <= until:
                del self._unsettled[table]
            _raise(self._own_floors, table, snapshot)
        if len(self._own_floors) > _MOST_TABLES:
            self._own_floors = {"*": snapshot}

    def raise_floor(self, tables: Iterable[str], snapshot: Snapshot) -> None:
        """Note a snapshot that sees what another process wrote."""
        if len(self._floors) > _MOST_TABLES:
            self.restart(snapshot)
        for table in tables:
            _raise(self._floors, table, snapshot)

    def restart(self, floor: Snapshot | None) -> None:
        """Trust nothing that was read before: what other processes wrote until now may have gone unheard.

        Args:
            floor: A snapshot taken after listening began.
        """
        self.spoil(None)
        self._floors.clear()
        self._own_floors.clear()
        self._floor = floor

    def admits(self, origin: Origin) -> bool:
        """Tell whether what this process has read may be kept."""
        if self._all_written > origin.since or any(self._written.get(table, 0) > origin.since for table in origin.tables):
            return False
        return origin.snapshot is None or self._covered(origin.tables, origin.snapshot, self._floors)

    def admits_foreign(self, tables: frozenset[str], snapshot: Snapshot) -> bool:
        """Tell whether what another process has read, at any time, may be used."""
        return (
            "*" not in self._unsettled
            and tables.isdisjoint(self._unsettled)
            and self._covered(tables, snapshot, self._floors)
            and self._covered(tables, snapshot, self._own_floors)
        )

    def _covered(self, tables: frozenset[str], snapshot: Snapshot, floors: dict[str, Snapshot]) -> bool:
        if self._floor is not None and not snapshot.covers(self._floor):
            return False
        return all(table not in floors or snapshot.covers(floors[table]) for table in (*tables, "*"))


def _raise(floors: dict[str, Snapshot], table: str, snapshot: Snapshot) -> None:
    known = floors.get(table)
    if known is None or snapshot.covers(known):
        floors[table] = snapshot

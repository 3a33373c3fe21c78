"""Snapshot: which transactions of PostgreSQL a read has seen, as `pg_current_snapshot()` tells it.

Snapshots of one server are ordered by time: a later one sees all that an earlier one saw, and `covers` says so.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CURRENT", "Snapshot"]

CURRENT = "SELECT pg_current_snapshot()::text"
"""The statement that asks for one."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was committed at one moment.

    Attributes:
        following: The first id not given out yet.
        running: The ids below it that were still at work.
        text: As PostgreSQL writes it.
    """

    following: int
    running: frozenset[int]
    text: str

    @classmethod
    def of(cls, text: str) -> Snapshot:
        """Read what `pg_current_snapshot()::text` returned.

        Args:
            text: Such as `"10:14:10,12"`.

        Returns:
            The snapshot.

        Raises:
            ValueError: It is none.

        Example:
            >>> Snapshot.of("10:14:10,12").sees(11)
            True
        """
        lowest, following, running = text.split(":")
        found = cls(int(following), frozenset(int(each) for each in running.split(",") if each), text)
        if int(lowest) > found.following:
            raise ValueError(text)
        return found

    def sees(self, transaction: int) -> bool:
        """Tell whether a transaction, if it was committed, is seen."""
        return transaction < self.following and transaction not in self.running

    def covers(self, other: Snapshot) -> bool:
        """Tell whether all that another snapshot sees is seen here too."""
        later = range(self.following, other.following)
        if len(later) > len(other.running):
            return False
        return other.running.issuperset(later) and not any(other.sees(each) for each in self.running)

"""Bulk writes on PostgreSQL by psycopg: each call by the route that is made for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dal.bulk.context import Context
from dal.bulk.delete import delete
from dal.bulk.insert import insert
from dal.bulk.keyed import Keyed
from dal.bulk.rejecting import Rejecting
from dal.bulk.returning import Returning
from dal.bulk.rows import Group
from dal.bulk.staged import update, upsert
from dal.bulk.tally import Tally

__all__ = ["Postgres"]


@dataclass(frozen=True)
class Postgres:
    """A bulk call by COPY, staging tables and arrays.

    Args:
        context: The call.
        tally: Takes the counts.
        rejecting: What happens to a row that cannot be written.
        back: What shall come back, or None.
        at_hand: Whether the rows are there already, and need nobody to make them.
    """

    context: Context
    tally: Tally
    rejecting: Rejecting
    back: Returning | None
    at_hand: bool = False

    @property
    def computed(self) -> frozenset[str]:
        """The attributes that only the database writes."""
        return self.context.computed()

    def insert(self, chunks: Iterator[list[Group]]) -> None:
        """Insert rows."""
        insert(self.context, chunks, self.tally, self.rejecting, self.back, at_hand=self.at_hand)

    def upsert(self, chunks: Iterator[list[Group]], keyed: Keyed) -> None:
        """Insert rows, or update those that are there."""
        upsert(self.context, chunks, keyed, self.tally, self.rejecting, self.back, at_hand=self.at_hand)

    def update(self, chunks: Iterator[list[Group]], keyed: Keyed) -> None:
        """Update rows by their key."""
        update(self.context, chunks, keyed, self.tally, self.rejecting, self.back, at_hand=self.at_hand)

    def delete(self, chunks: Iterator[list[Group]], key: tuple[str, ...]) -> None:
        """Delete rows by their key."""
        delete(self.context, chunks, key, self.tally, self.rejecting, at_hand=self.at_hand)

"""Loader: what writes the rows of a load: a BulkWriter on the connection the load runs on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection

from dal.bulk.catalog import TableFacts
from dal.bulk.context import Context
from dal.bulk.result import BulkResult
from dal.bulk.target import Attribute, Target

__all__ = ["Loader", "Writes"]


class Writes(Protocol):
    """What a `BulkWriter` does with rows."""

    def insert(self, rows: Iterable[Any], *, on_error: Any) -> BulkResult:
        """Insert rows."""
        ...

    def upsert(self, rows: Iterable[Any], *, key: Sequence[Attribute], on_error: Any) -> BulkResult:
        """Insert rows, or write them over those that are there."""
        ...


class Loader:
    """Writes the rows of a load.

    Args:
        connection: The connection the load runs on.
        writes: A bulk writer on it.
        target: Where the rows go.
        known: Facts about tables, kept from part to part.
    """

    def __init__(self, connection: Connection, writes: Writes, target: Target, known: dict[str, TableFacts]) -> None:
        self.connection = connection
        self._writes, self._target, self._known = writes, target, known

    def write(self, rows: Any, *, key: Sequence[Attribute] | None, rejecting: bool) -> BulkResult:
        """Insert rows, or upsert them where there is a key."""
        on_error = "reject" if rejecting else "raise"
        if key is None:
            return self._writes.insert(rows, on_error=on_error)
        return self._writes.upsert(rows, key=key, on_error=on_error)

    def context(self) -> Context:
        """Return what PostgreSQL's routes work with."""
        return Context(self.connection, self._target, self._known)

"""How the text of a column becomes the value a `select()` would have given.

psycopg's loaders by the type on the server, with the adapters of the application's own connections, and then SQLAlchemy's
result processor of the mapped type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from psycopg import pq
from psycopg.abc import AdaptContext
from psycopg.adapt import AdaptersMap, Transformer
from sqlalchemy import Column
from sqlalchemy.engine import Dialect

__all__ = ["Loader", "Types"]

_FIRST_OF_USERS = 16384
"""Object ids below are the server's own types, none of which is a domain."""


class Types:
    """What is known of types: the adapters, the dialect, and what domains are made of.

    Args:
        adapters: psycopg's adapters, as the application's connections have them.
        dialect: SQLAlchemy's dialect for psycopg.
        domains: Asks the server for all domains: the type each is made of.
    """

    def __init__(self, adapters: AdaptersMap, dialect: Dialect, domains: Callable[[], Mapping[int, int]]) -> None:
        self.adapters, self._dialect, self._domains = adapters, dialect, domains
        self._known: Mapping[int, int] = {}
        self._seen: set[int] = set()

    def base(self, oid: int) -> int:
        """Return the type a value is sent as: for a domain what it is made of, as in the result of a query.

        Args:
            oid: The type of the column.
        """
        if oid < _FIRST_OF_USERS:
            return oid
        if oid not in self._seen:
            self._known = self._domains()
            self._seen.update(self._known, {oid})
        return self.base(self._known[oid]) if oid in self._known else oid

    def processor(self, column: Column[Any], oid: int) -> Callable[[Any], Any] | None:
        """Return what SQLAlchemy does to a value of a mapped column, if anything.

        Args:
            column: The column.
            oid: Its type on the server.
        """
        kind: Any = column.type.dialect_impl(self._dialect)
        found: Callable[[Any], Any] | None = kind.result_processor(self._dialect, self.base(oid))
        return found


class Loader:
    """Loads the texts of one table's rows.

    Args:
        oids: The types of its columns.
        types: What is known of types.
    """

    __slots__ = ("load",)

    def __init__(self, oids: Sequence[int], types: Types) -> None:
        transformer = Transformer(_Context(types.adapters))
        transformer.set_loader_types([types.base(oid) for oid in oids], pq.Format.TEXT)
        self.load: Callable[[Sequence[Any]], Sequence[Any]] = transformer.load_sequence


class _Context(AdaptContext):
    """psycopg's adapters without a connection: times are in UTC, texts in UTF-8."""

    def __init__(self, adapters: AdaptersMap) -> None:
        self._adapters = adapters

    @property
    def adapters(self) -> AdaptersMap:
        return self._adapters

    @property
    def connection(self) -> None:
        return None

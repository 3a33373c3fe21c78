"""What is worth doing once, after a load, rather than row by row during it: indexes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, Index, text

from dal.errors import UsageError

__all__ = ["BuildIndexes"]


class BuildIndexes:
    """Build indexes, and let PostgreSQL look at the tables afterwards, so that it plans with them.

    Args:
        db: A Database.
        indexes: SQLAlchemy's indexes, of mapped tables.
        concurrently: Build them without holding up those who write meanwhile; slower. PostgreSQL only.

    Raises:
        UsageError: One of them is no index, or belongs to no table.

    Example:
        >>> from dal import BuildIndexes, Pipeline
        >>> after = [BuildIndexes(db, Index("ix_daily_day", Daily.day))]       # doctest: +SKIP
        >>> Pipeline(rows).store(BulkWriter(db, Daily), after=after).run()     # doctest: +SKIP
    """

    def __init__(self, db: Any, *indexes: Index, concurrently: bool = False) -> None:
        if not isinstance(getattr(db, "engine", None), Engine):
            raise UsageError(f"{db!r} is no Database of the sync door", hint="BuildIndexes(Database(url), ...)")
        for index in indexes:
            if not isinstance(index, Index) or getattr(index, "table", None) is None:
                raise UsageError(f"{index!r} is no index of a table", hint='Index("ix_daily_day", Daily.day)')
        self._db, self._indexes, self._concurrently = db, indexes, concurrently

    def __call__(self) -> None:
        """Build those that are not there yet."""
        autocommit = {"isolation_level": "AUTOCOMMIT"}
        with self._db.engine.connect().execution_options(**autocommit) as connection:
            postgres = connection.dialect.name == "postgresql"
            for index in self._indexes:
                if postgres and self._concurrently:
                    index.dialect_options["postgresql"]["concurrently"] = True
                index.create(connection, checkfirst=True)
            if postgres:
                for table in {index.table for index in self._indexes}:
                    name = connection.dialect.identifier_preparer.format_table(table)
                    connection.execute(text(f"ANALYZE {name}"))

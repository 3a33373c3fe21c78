"""Context: what one bulk call on PostgreSQL works with: the wire, the target, what the catalog says of it, and plans."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Table

from dal.bulk.catalog import TableFacts, facts_of
from dal.bulk.plan import ColumnPlan, PlannedColumn, bind_of, binds_of
from dal.bulk.target import Target
from dal.bulk.values import kind_of
from dal.bulk.wire import Wire
from dal.errors import UsageError

__all__ = ["Context"]


class Context:
    """What one call works with.

    Args:
        connection: A connection of psycopg's, in a transaction.
        target: Where rows go.
        known: Facts about tables by their quoted names, kept from call to call.
    """

    def __init__(self, connection: Connection, target: Target, known: dict[str, TableFacts]) -> None:
        self.connection = connection
        self.target = target
        self.wire = Wire(connection)
        self._known = known
        self._prepare = connection.dialect.identifier_preparer
        self._plans: dict[tuple[int | None, tuple[str, ...]], ColumnPlan] = {}
        self.zone: dt.tzinfo = self.wire.driver.info.timezone

    def table(self, part: int = 0) -> str:
        """Return the quoted name of a part's table."""
        table = self.target.parts[part].table
        schemas: Any = self.connection.get_execution_options().get("schema_translate_map")
        if schemas and table.schema in schemas:
            schema = schemas[table.schema]
            name = self._prepare.quote(table.name)
            return f"{self._prepare.quote_schema(schema)}.{name}" if schema else name
        return self._prepare.format_table(table)

    def quoted(self, columns: Iterable[Column[Any]]) -> list[str]:
        """Return the quoted names of columns."""
        return [self._prepare.quote(column.name) for column in columns]

    def facts(self, part: int = 0) -> TableFacts:
        """Return what the catalog says of a part's table."""
        name = self.table(part)
        if name not in self._known:
            self._known[name] = facts_of(self.wire, name)
        return self._known[name]

    def kin(self, alias: str) -> str | None:
        """Return the condition that a row of the root's table is one of the target's class; None where all are.

        Args:
            alias: What the table is called.
        """
        condition = self.target.kin(self.target.table.alias(alias))
        if condition is None:
            return None
        return str(condition.compile(dialect=self.connection.dialect, compile_kwargs={"literal_binds": True}))

    def plan(self, names: Sequence[str], part: int | None = None) -> ColumnPlan:
        """Return the plan for rows that carry some attributes, in this order.

        Args:
            names: The attributes.
            part: Whose columns are meant; by default, those of the first table that has the attribute.

        Raises:
            UsageError: The table in the database has no such column.
        """
        key = (part, tuple(names))
        if key not in self._plans:
            self._plans[key] = ColumnPlan(
                tuple(self._planned(name, self.home(name) if part is None else part) for name in names)
            )
        return self._plans[key]

    def home(self, name: str) -> int:
        """Return the first part that has an attribute."""
        return next(at for at, part in enumerate(self.target.parts) if name in part.columns)

    def computed(self) -> frozenset[str]:
        """Return the attributes that only the database writes."""
        return frozenset(
            name
            for at, part in enumerate(self.target.parts)
            for name, column in part.columns.items()
            if column.computed is not None or self._is_computed(column, at)
        )

    def _is_computed(self, column: Column[Any], part: int) -> bool:
        known = self.facts(part).columns.get(column.name)
        return known is not None and known.computed

    def _planned(self, name: str, part: int) -> PlannedColumn:
        table: Table = self.target.parts[part].table
        column = self.target.parts[part].columns[name]
        facts = self.facts(part).columns.get(column.name)
        if facts is None:
            raise UsageError(
                f"the table {table.fullname} in the database has no column {column.name}, which {self.target.name}.{name} is",
                hint="migrate the database: dal migrate up",
            )
        bind = bind_of(column, facts, self.connection.dialect)
        return PlannedColumn(name, column, facts, kind_of(facts, self.zone), bind, binds_of(column))

"""Target: the table or tables that the rows of an entity are written to, and which attribute is which column.

A mapped class of joined inheritance has several tables, the root's first; every other target has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, FromClause, Table, inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import ColumnProperty, Mapper, QueryableAttribute
from sqlalchemy.sql.visitors import replacement_traverse

from dal.errors import UnsupportedError, UsageError

__all__ = ["Attribute", "Part", "Target", "target_of"]

Attribute = QueryableAttribute[Any] | Column[Any] | str
"""A column as a caller names it: `Flight.id`, `table.c.id` or `"id"`."""


@dataclass(frozen=True)
class Part:
    """One table of a target.

    Args:
        table: The table.
        columns: Its columns by the name of their attribute.
    """

    table: Table
    columns: Mapping[str, Column[Any]]


@dataclass(frozen=True)
class Target:
    """Where rows go.

    Args:
        name: What errors call it.
        mapper: The mapper, or None where a plain table was given.
        parts: Its tables, the root's first.
        columns: The column of each attribute; of one that several tables share, the root's.
        key: The names of the attributes of the primary key.
        constants: What a mapper writes by itself: the discriminator of its class.
    """

    name: str
    mapper: Mapper[Any] | None
    parts: tuple[Part, ...]
    columns: Mapping[str, Column[Any]]
    key: tuple[str, ...]
    constants: Mapping[str, Any]

    @property
    def root(self) -> Part:
        """The root's table and columns."""
        return self.parts[0]

    @property
    def table(self) -> Table:
        """The root's table."""
        return self.parts[0].table

    @property
    def source(self) -> FromClause:
        """What its rows are read from."""
        return self.table if self.mapper is None else self.mapper.selectable

    def kin(self, source: FromClause) -> ColumnElement[bool] | None:
        """Return the condition that a row is one of this class, where others are kept in the same table.

        Args:
            source: The root's table, or an alias of it.
        """
        mapper = self.mapper
        if mapper is None or not mapper.single or mapper.polymorphic_on is None:
            return None

        def of_source(element: Any, **_: Any) -> Any:
            return source.c[element.key] if isinstance(element, Column) and element.table is self.table else None

        discriminator: ColumnElement[Any] = replacement_traverse(mapper.polymorphic_on, {}, of_source)
        return discriminator.in_([each.polymorphic_identity for each in mapper.self_and_descendants])

    @property
    def shares(self) -> bool:
        """Whether a key may be there as a row of another class."""
        return len(self.parts) > 1 or self.kin(self.table) is not None

    @property
    def example(self) -> str:
        """An attribute, as a hint writes it."""
        name = (self.key or tuple(self.columns))[0]
        return f"{self.name}.{name}" if self.mapper is not None else f"{self.name}.c.{name}"

    def named(self, given: Attribute, what: str) -> str:
        """Return the name of an attribute.

        Args:
            given: As the caller wrote it.
            what: The argument it was written in.

        Raises:
            UsageError: It is no column of this target.
        """
        if isinstance(given, str):
            found = given if given in self.columns else self._by_column_name(given)
        elif isinstance(given, QueryableAttribute):
            found = self._by_attribute(given)
        else:
            found = next((name for part in self.parts for name, column in part.columns.items() if column is given), None)
        if found is None:
            shown = str(given) if isinstance(given, (str, QueryableAttribute, Column)) else repr(given)
            raise UsageError(
                f"{what} names {shown}, which is not a column of {self.name}",
                hint=f"columns of {self.name}: {', '.join(self.columns)}",
            )
        return found

    def listed(self, given: Iterable[Attribute], what: str) -> tuple[str, ...]:
        """Return the names of several attributes; see `named`."""
        if isinstance(given, (str, QueryableAttribute, Column)) or not isinstance(given, Iterable):
            raise UsageError(f"{what} is {given}, not a list of attributes", hint=f"write {what}=[{self.example}]")
        names = tuple(self.named(each, what) for each in given)
        if not names:
            raise UsageError(f"{what} is empty", hint=f"write {what}=[{self.example}]")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UsageError(f"{what} names {twice} twice", hint="name each column once")
        return names

    def key_of_all(self, given: Iterable[Attribute]) -> tuple[str, ...]:
        """Return the names of a key that every table of the class has; see `named`.

        Raises:
            UnsupportedError: One of the tables has no such column.
        """
        names = self.listed(given, "key")
        missing = [name for name in names if any(name not in part.columns for part in self.parts)]
        if missing:
            raise UnsupportedError(
                f"{self.name} is spread over {len(self.parts)} tables, and not all of them have {', '.join(missing)}",
                hint=f"leave key= out for the primary key ({', '.join(self.key)}), or write the table: BulkWriter(db, Table)",
            )
        return names

    def _by_column_name(self, given: str) -> str | None:
        found = [name for name, column in self.columns.items() if column.name == given]
        return found[0] if len(found) == 1 else None

    def _by_attribute(self, given: QueryableAttribute[Any]) -> str | None:
        owner: Any = getattr(given, "class_", None)
        if self.mapper is None:
            return next((name for name, column in self.columns.items() if column in _columns_of(given)), None)
        return given.key if given.key in self.columns and issubclass(self.mapper.class_, owner) else None


def _columns_of(attribute: QueryableAttribute[Any]) -> Sequence[Any]:
    prop = getattr(attribute, "property", None)
    return prop.columns if isinstance(prop, ColumnProperty) else ()


def target_of(entity: object) -> Target:
    """Describe where the rows of an entity go.

    Args:
        entity: A mapped class or a Table.

    Raises:
        UsageError: It is neither.
        UnsupportedError: It is read from a query, not from a table.
    """
    if isinstance(entity, Table):
        columns = {column.key: column for column in entity.columns}
        key = tuple(column.key for column in entity.primary_key)
        return Target(entity.name, None, (Part(entity, columns),), columns, key, {})
    try:
        mapper: Any = inspect(entity)
    except NoInspectionAvailable:
        mapper = None
    if not isinstance(mapper, Mapper):
        shown = entity.__name__ if isinstance(entity, type) else type(entity).__name__
        raise UsageError(f"{shown} is not mapped, and no Table", hint="give a mapped class: BulkWriter(db, Flight)")
    return _of_mapper(mapper)


def _of_mapper(mapper: Mapper[Any]) -> Target:
    name = mapper.class_.__name__
    tables = [each.local_table for each in mapper.iterate_to_root()][::-1]
    if mapper.concrete:
        tables = [mapper.local_table]
    unique = list(dict.fromkeys(tables))
    if not all(isinstance(table, Table) for table in unique):
        raise UnsupportedError(
            f"{name} is read from a query, not from a table, so there is no table to write",
            hint="give the table itself: BulkWriter(db, table)",
        )
    parts = tuple(Part(table, _columns_in(mapper, table)) for table in unique if isinstance(table, Table))
    columns: dict[str, Column[Any]] = {}
    for prop in mapper.column_attrs:
        held = [part.columns[prop.key] for part in parts if prop.key in part.columns]
        if held:
            columns[prop.key] = held[0]
    key = tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)
    return Target(name, mapper, parts, columns, key, _constants(mapper))


def _columns_in(mapper: Mapper[Any], table: Table) -> dict[str, Column[Any]]:
    return {
        prop.key: column
        for prop in mapper.column_attrs
        for column in prop.columns
        if isinstance(column, Column) and column.table is table
    }


def _constants(mapper: Mapper[Any]) -> dict[str, Any]:
    discriminator = mapper.polymorphic_on
    if not isinstance(discriminator, Column) or mapper.polymorphic_identity is None:
        return {}
    return {mapper.get_property_by_column(discriminator).key: mapper.polymorphic_identity}

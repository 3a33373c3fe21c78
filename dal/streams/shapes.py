"""What is asked for: classes and tables, and which columns of which table are which attribute of whom.

A class of single-table inheritance gets the rows of its own and its subclasses, told apart by the discriminator. A class of
joined inheritance gets the rows of all its tables, merged by key within a transaction, so that an object is one change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Table, inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import Mapper

from dal.errors import UnsupportedError, UsageError

__all__ = ["Shape", "shapes_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One class or table that is asked for.

    Attributes:
        entity: The class, or the Table.
        mapper: Its mapper; None for a Table.
        tables: Its tables, the base of an inheritance hierarchy first.
        key: The attribute names of the primary key.
    """

    entity: Any
    mapper: Mapper[Any] | None
    tables: tuple[Table, ...]
    key: tuple[str, ...]

    @property
    def joined(self) -> bool:
        """Whether its columns span tables."""
        return len(self.tables) > 1

    @property
    def names(self) -> frozenset[str]:
        """The attributes that each of its inserts and updates has: not a subclass's, and none that the server computes."""
        found = [each for table in self.tables for each in attributes(self.mapper, table).values()]
        return frozenset(key for key, column in found if column.computed is None)

    @property
    def own_table(self) -> Table:
        """The table whose rows are its objects and no other class's."""
        return self.tables[-1]

    def key_columns(self, table: Table) -> tuple[str, ...]:
        """Name the columns of a table that hold the primary key, in its order.

        Args:
            table: One of `tables`.
        """
        if self.mapper is None:
            return tuple(column.name for column in table.primary_key)
        key = [column for column in self.mapper.primary_key if isinstance(column, Column)]
        return tuple(_standing_for(column, table, self.tables).name for column in key)

    def discriminator(self, table: Table) -> str | None:
        """Name the column of a table that tells which class a row is of; None where the table has none.

        Args:
            table: One of `tables`.
        """
        column = None if self.mapper is None or self.mapper.concrete else self.mapper.polymorphic_on
        return column.name if isinstance(column, Column) and column.table is table else None

    def variants(self) -> dict[Any, Mapper[Any]]:
        """The mappers of the hierarchy by what their rows have in the discriminator."""
        return {} if self.mapper is None else dict(self.mapper.polymorphic_map)


def shapes_of(entities: Sequence[Any]) -> tuple[Shape, ...]:
    """Look at what is asked for.

    Args:
        entities: Mapped classes and Tables.

    Raises:
        UsageError: There is none, one comes twice, or one is neither.
        UnsupportedError: A class is mapped to something that has no rows of its own, or a row's class cannot be told.
    """
    if not entities:
        raise UsageError("db.changes() of what?", hint='db.changes(Order, name="billing")')
    found = tuple(_shape(entity) for entity in entities)
    if len({id(shape.entity) for shape in found}) < len(found):
        raise UsageError("the same class is asked for twice", hint="name each once")
    return found


def attributes(mapper: Mapper[Any] | None, table: Table) -> dict[str, tuple[str, Column[Any]]]:
    """Return the attribute and the Column of each column name of a table.

    Args:
        mapper: The mapper whose attributes they are; None for those of the Table itself.
        table: The table.
    """
    if mapper is None:
        return {column.name: (column.key, column) for column in table.columns}
    return {
        column.name: (attribute.key, column)
        for attribute in mapper.column_attrs
        for column in attribute.columns
        if isinstance(column, Column) and column.table is table
    }


def _shape(entity: Any) -> Shape:
    if isinstance(entity, Table):
        return Shape(entity, None, (entity,), tuple(column.key for column in entity.primary_key))
    try:
        mapper: Any = inspect(entity) if isinstance(entity, type) else None
    except NoInspectionAvailable:
        mapper = None
    if not isinstance(mapper, Mapper):
        raise UsageError(
            f"{entity!r} is neither a mapped class nor a Table", hint='db.changes(Order, name="billing"), several are fine'
        )
    tables = [table for table in mapper.tables if isinstance(table, Table)]
    if len(tables) != len(mapper.tables) or not tables:
        raise UnsupportedError(
            f"{entity.__name__} is mapped to a statement, which has no changes of its own", hint="ask for the tables it reads"
        )
    if len(tables) > 1 and not isinstance(mapper.polymorphic_on, Column):
        raise UnsupportedError(
            f"{entity.__name__} spans {', '.join(table.name for table in tables)}, and no column tells which rows are its own",
            hint="give the base class polymorphic_on, or ask for the Tables",
        )
    key = tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)
    return Shape(entity, mapper, tuple(tables), key)


def _standing_for(key: Column[Any], table: Table, tables: Sequence[Table]) -> Column[Any]:
    """Find the column of a table that is the primary key of another table of the same object."""
    if key.table is table:
        return key
    for column in table.primary_key:
        if column.references(key):
            return column
        for middle in tables:
            if middle is not table and middle is not key.table:
                between = _standing_for(key, middle, (middle,))
                if between.table is middle and column.references(between):
                    return column
    return key

"""Who wants the rows of a table: picks the columns that are attributes, and tells the class of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.orm import Mapper

from dal.streams.shapes import Shape, attributes
from dal.streams.values import Types

__all__ = ["Reader"]

Found = tuple[Any, Any, dict[str, Any]]
"""The class, the key and the values of a row."""


class _Variant:
    """One class that a row can be of."""

    __slots__ = ("entity", "indexes", "names", "whole")

    def __init__(self, entity: Any, mapped: dict[str, tuple[str, Column[Any]]], columns: Sequence[str]) -> None:
        self.entity = entity
        self.indexes = [index for index, name in enumerate(columns) if name in mapped]
        self.names = [mapped[columns[index]][0] for index in self.indexes]
        self.whole = len(self.indexes) == len(columns)

    def values(self, row: Sequence[Any]) -> dict[str, Any]:
        if self.whole:
            return dict(zip(self.names, row, strict=True))
        return {name: row[index] for name, index in zip(self.names, self.indexes, strict=True)}


class Reader:
    """Reads the rows of one table for one shape.

    Args:
        shape: What was asked for.
        table: The table.
        columns: The names of its columns, as the server lays out its rows.
        oids: Their types on the server.
        types: How to load values.

    Attributes:
        own: Whether every row is one of the shape's objects, or of their subclasses.
    """

    def __init__(self, shape: Shape, table: Table, columns: Sequence[str], oids: Sequence[int], types: Types) -> None:
        self.shape, self.table = shape, table
        self.table_name = table.fullname
        self.own = table is shape.own_table
        self._columns = columns
        mapped = attributes(shape.mapper, table)
        known = mapped if shape.mapper is None else _of_hierarchy(shape.mapper, table) | mapped
        self._processors = [
            (index, processor)
            for index, (name, oid) in enumerate(zip(columns, oids, strict=True))
            if name in known and (processor := types.processor(known[name][1], oid)) is not None
        ]
        self._default = _Variant(shape.entity, mapped, columns)
        self._key: Callable[[Any], Any] | None = self._key_getter(columns)
        discriminator = shape.discriminator(table)
        self._tells = columns.index(discriminator) if discriminator in columns else None
        self._variants = {
            identity: _Variant(mapper.class_, attributes(mapper, table), columns)
            for identity, mapper in shape.variants().items()
            if self._tells is not None and shape.mapper is not None and mapper.isa(shape.mapper)
        }

    def read(self, row: Sequence[Any]) -> Found | None:
        """Read a whole row; None where it is of a class that was not asked for.

        Args:
            row: What psycopg loaded.
        """
        row = self._processed(row)
        variant = self._default
        if self._tells is not None:
            found = self._variants.get(row[self._tells])
            if found is None:
                return None
            variant = found
        return variant.entity, None if self._key is None else self._key(row), variant.values(row)

    def gone(self, row: Sequence[Any], known: frozenset[str]) -> Found | None:
        """Read a deleted row of which only some columns are known.

        Args:
            row: What psycopg loaded.
            known: The columns that are known.
        """
        processed = self._processed(row)
        return self.shape.entity, None if self._key is None else self._key(processed), self._known(processed, known)

    def whole(self, row: Sequence[Any]) -> dict[str, Any]:
        """Read the values of a row as it was, of whatever class it is now."""
        processed = self._processed(row)
        variant = self._default if self._tells is None else self._variants.get(processed[self._tells], self._default)
        return variant.values(processed)

    def part(self, row: Sequence[Any], known: frozenset[str]) -> dict[str, Any]:
        """Read those values of a row as it was that are known.

        Args:
            row: What psycopg loaded.
            known: The columns that are known.
        """
        return self._known(self._processed(row), known)

    def key_values(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the key alone of a row's values."""
        return {name: values[name] for name in self.shape.key if name in values}

    def attribute(self, index: int) -> str | None:
        """Name the attribute of a column, by the column's place."""
        for variant in (self._default, *self._variants.values()):
            if index in variant.indexes:
                return variant.names[variant.indexes.index(index)]
        return None

    def _known(self, row: Sequence[Any], known: frozenset[str]) -> dict[str, Any]:
        variant = self._default
        return {
            name: row[index]
            for name, index in zip(variant.names, variant.indexes, strict=True)
            if self._columns[index] in known
        }

    def _processed(self, row: Sequence[Any]) -> Sequence[Any]:
        if not self._processors:
            return row
        changed = list(row)
        for index, processor in self._processors:
            changed[index] = processor(changed[index])
        return changed

    def _key_getter(self, columns: Sequence[str]) -> Callable[[Any], Any] | None:
        wanted = self.shape.key_columns(self.table)
        if not wanted or any(name not in columns for name in wanted):
            return None
        getter: Callable[[Any], Any] = itemgetter(*(columns.index(name) for name in wanted))
        return getter


def _of_hierarchy(mapper: Mapper[Any], table: Table) -> dict[str, tuple[str, Column[Any]]]:
    found: dict[str, tuple[str, Column[Any]]] = {}
    for each in mapper.self_and_descendants:
        found.update(attributes(each, table))
    return found

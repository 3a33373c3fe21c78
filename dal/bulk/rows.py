"""Rows as they come: dicts, tuples, dataclasses, msgspec and pydantic objects, ORM objects; read in chunks, by shape.

    read(rows, target, ...)  ->  Group(names, positions, given, values), ...

All rows of a group carry the same attributes, so that one plan fits them. Where rows differ (one has no `email`, which then
keeps its default), a chunk falls into several groups, as SQLAlchemy's own bulk insert does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import JSON, Row, inspect
from sqlalchemy.orm import Mapper

from dal.bulk.arguments import checked_rows
from dal.bulk.groups import Group
from dal.bulk.kinds import Entities, Kind, Mappings, Objects, Tuples, field_names, known_name
from dal.bulk.target import Target
from dal.errors import UsageError

__all__ = ["Group", "Reader", "read"]


def read(rows: Iterable[Any], reader: Reader, size: int, start: int = 0) -> Iterator[list[Group]]:
    """Read rows in chunks.

    Args:
        rows: The rows; of a generator, no more than a chunk is held.
        reader: What knows how to read them.
        size: Rows in a chunk.
        start: The position of the first.

    Yields:
        The groups of each chunk.

    Raises:
        UsageError: A row is of a kind or has a column that the target does not know; it is named by its position.
    """
    source = iter(checked_rows(rows))
    while chunk := list(islice(source, size)):
        yield reader.groups(chunk, start)
        start += len(chunk)


class Reader:
    """Tells the kind of each row and takes its values.

    Args:
        target: Where the rows go.
        columns: What the places of a tuple mean.
        fresh: Whether the rows are to become new ones: an ORM object that a session knows is then refused.
        computed: Names of columns that only the database writes.
    """

    def __init__(self, target: Target, columns: tuple[str, ...] | None, *, fresh: bool, computed: frozenset[str]) -> None:
        self.target = target
        self._columns = columns
        self._fresh = fresh
        self._computed = computed
        self._by_type: dict[type, Kind] = {}

    def named(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Return the attributes that the columns of a table mean."""
        if self._columns is not None:
            return self._columns
        return tuple(known_name(self.target, self._computed, name, 0) for name in columns)

    def json_columns(self, names: Sequence[str]) -> list[int]:
        """Return the places of those that hold JSON."""
        return [place for place, name in enumerate(names) if isinstance(self.target.columns[name].type, JSON)]

    def groups(self, chunk: list[Any], start: int) -> list[Group]:
        """Sort the rows of a chunk by shape.

        Args:
            chunk: The rows.
            start: The position of the first.
        """
        kinds = set(map(type, chunk))
        if len(kinds) == 1:
            return self._kind(chunk[0], start).groups(chunk, range(start, start + len(chunk)))
        found: list[Group] = []
        for cls in dict.fromkeys(map(type, chunk)):
            at = [index for index, row in enumerate(chunk) if type(row) is cls]
            part = [chunk[index] for index in at]
            found += self._kind(part[0], start + at[0]).groups(part, [start + index for index in at])
        return found

    def _kind(self, row: Any, position: int) -> Kind:
        cls = type(row)
        if cls not in self._by_type:
            self._by_type[cls] = self._made(row, cls, position)
        return self._by_type[cls]

    def _made(self, row: Any, cls: type, position: int) -> Kind:
        if isinstance(row, Mapping):
            return Mappings(self.target, self._computed)
        mapper: Any = inspect(cls, raiseerr=False)
        if isinstance(mapper, Mapper):
            return self._orm(mapper, position)
        if isinstance(row, (tuple, list, Row)):
            named = getattr(row, "_fields", None)
            return Tuples(self._tuple_names(named, position))
        names = field_names(row, cls)
        if names is None:
            raise UsageError(
                f"row {position} is a {cls.__name__}, which is no row of {self.target.name}",
                hint=f"give dicts, tuples with columns=, dataclasses, or {self.target.name} objects",
            )
        return Objects(self.target, self._computed, names)

    def _orm(self, mapper: Mapper[Any], position: int) -> Kind:
        wanted = self.target.mapper
        if wanted is None or not mapper.isa(wanted):
            raise UsageError(
                f"row {position} is a {mapper.class_.__name__}, not a {self.target.name}",
                hint=f"use BulkWriter(db, {mapper.class_.__name__})",
            )
        if len(mapper.tables) > len(self.target.parts):
            raise UsageError(
                f"row {position} is a {mapper.class_.__name__}, which is kept in more tables than {self.target.name}",
                hint=f"write them on their own: BulkWriter(db, {mapper.class_.__name__})",
            )
        return Entities(self.target, self._computed, fresh=self._fresh)

    def _tuple_names(self, named: Any, position: int) -> tuple[str, ...]:
        if self._columns is not None:
            return self._columns
        if named is None:
            raise UsageError(
                f"row {position} is a tuple, and nothing says what its places mean",
                hint=f"write columns=[{self.target.example}, ...]",
            )
        return tuple(known_name(self.target, self._computed, name, position) for name in named)

"""Rows as they come: dicts, tuples, dataclasses, msgspec and pydantic objects, ORM objects; read in chunks, by shape.

    read(rows, target, ...)  ->  Group(names, positions, given, values), ...

All rows of a group carry the same attributes, so that one plan fits them. Where rows differ (one has no `email`, which then
keeps its default), a chunk falls into several groups, as SQLAlchemy's own bulk insert does it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter, itemgetter
from typing import Any

from sqlalchemy import JSON, Row, inspect
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.base import instance_dict, instance_state

from dal.bulk.target import Target
from dal.errors import UsageError

__all__ = ["Group", "Reader", "read"]


@dataclass(frozen=True)
class Group:
    """Rows of one shape.

    Args:
        names: The attributes they carry.
        positions: Their places among all rows of the call, from 0.
        given: The rows as given.
        values: Their values, in the order of the names.
        batch: The same as an Arrow record batch, where they came as one.
    """

    names: tuple[str, ...]
    positions: Sequence[int]
    given: Sequence[Any]
    values: Sequence[tuple[Any, ...]]
    batch: Any = None


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
    if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable):
        raise UsageError(
            f"rows is a {type(rows).__name__}, not many rows", hint="write a list, even for one row: insert([row])"
        )
    source = iter(rows)
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
        self._by_type: dict[type, _Kind] = {}

    def named(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Return the attributes that the columns of a table mean."""
        if self._columns is not None:
            return self._columns
        return tuple(_known(self.target, self._computed, name, 0) for name in columns)

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

    def _kind(self, row: Any, position: int) -> _Kind:
        cls = type(row)
        if cls not in self._by_type:
            self._by_type[cls] = self._made(row, cls, position)
        return self._by_type[cls]

    def _made(self, row: Any, cls: type, position: int) -> _Kind:
        if isinstance(row, Mapping):
            return _Mappings(self.target, self._computed)
        mapper: Any = inspect(cls, raiseerr=False)
        if isinstance(mapper, Mapper):
            return self._orm(mapper, position)
        if isinstance(row, (tuple, list, Row)):
            named = getattr(row, "_fields", None)
            return _Tuples(self._tuple_names(named, position))
        names = _field_names(row, cls)
        if names is None:
            raise UsageError(
                f"row {position} is a {cls.__name__}, which is no row of {self.target.name}",
                hint=f"give dicts, tuples with columns=, dataclasses, or {self.target.name} objects",
            )
        return _Objects(self.target, self._computed, names)

    def _orm(self, mapper: Mapper[Any], position: int) -> _Kind:
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
        return _Entities(self.target, self._computed, fresh=self._fresh)

    def _tuple_names(self, named: Any, position: int) -> tuple[str, ...]:
        if self._columns is not None:
            return self._columns
        if named is None:
            raise UsageError(
                f"row {position} is a tuple, and nothing says what its places mean",
                hint=f"write columns=[{self.target.example}, ...]",
            )
        return tuple(_known(self.target, self._computed, name, position) for name in named)


def _known(target: Target, computed: frozenset[str], given: object, position: int) -> str:
    """Return the attribute that a row means by a name."""
    name = given if given in target.columns else None
    if name is None and isinstance(given, str):
        found = [key for key, column in target.columns.items() if column.name == given]
        name = found[0] if len(found) == 1 else None
    if not isinstance(name, str):
        raise UsageError(
            f"row {position} has a column {given!r}, which {target.name} has not",
            hint=f"columns of {target.name}: {', '.join(target.columns)}",
        )
    if name in computed:
        raise UsageError(
            f"row {position} has a value for {target.name}.{name}, which the database computes", hint=f"leave {name} out"
        )
    return name


def _field_names(row: Any, cls: type) -> tuple[str, ...] | None:
    if dataclasses.is_dataclass(row):
        return tuple(field.name for field in dataclasses.fields(row))
    struct: Any = getattr(cls, "__struct_fields__", None)
    if isinstance(struct, tuple):
        return struct
    model: Any = getattr(cls, "model_fields", None)
    if isinstance(model, dict):
        return tuple(model)
    attrs: Any = getattr(cls, "__attrs_attrs__", None)
    return None if attrs is None else tuple(each.name for each in attrs)


class _Kind:
    """Rows of one Python type."""

    def groups(self, rows: list[Any], positions: Sequence[int]) -> list[Group]:
        """Sort rows by shape."""
        raise NotImplementedError


class _Tuples(_Kind):
    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def groups(self, rows: list[Any], positions: Sequence[int]) -> list[Group]:
        width = len(self._names)
        if set(map(len, rows)) != {width}:
            at = next(index for index, row in enumerate(rows) if len(row) != width)
            raise UsageError(
                f"row {positions[at]} has {len(rows[at])} values for {width} columns",
                hint=f"give one value for each of {', '.join(self._names)}",
            )
        return [Group(self._names, positions, rows, rows)]


class _Keyed(_Kind):
    """Rows that are, or have, a dict."""

    def __init__(self, target: Target, computed: frozenset[str]) -> None:
        self._target = target
        self._computed = computed
        self._shapes: dict[Any, tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]] = {}

    def by_keys(self, rows: list[Any], dicts: list[Any], positions: Sequence[int]) -> list[Group]:
        keys = dicts[0].keys()
        if all(each.keys() == keys for each in dicts):
            return [self._group(tuple(keys), rows, dicts, positions)]
        shapes: dict[frozenset[Any], list[int]] = {}
        for index, each in enumerate(dicts):
            shapes.setdefault(frozenset(each), []).append(index)
        return [
            self._group(tuple(dicts[at[0]]), [rows[i] for i in at], [dicts[i] for i in at], [positions[i] for i in at])
            for at in shapes.values()
        ]

    def _group(self, keys: tuple[Any, ...], rows: list[Any], dicts: list[Any], positions: Sequence[int]) -> Group:
        if keys not in self._shapes:
            self._shapes[keys] = self.shape(keys, positions[0])
        names, take = self._shapes[keys]
        return Group(names, positions, rows, list(map(take, dicts)))

    def shape(self, keys: tuple[Any, ...], position: int) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
        names = tuple(_known(self._target, self._computed, key, position) for key in keys)
        return names, _taker(itemgetter, keys)


class _Mappings(_Keyed):
    def groups(self, rows: list[Any], positions: Sequence[int]) -> list[Group]:
        return self.by_keys(rows, rows, positions)


class _Entities(_Keyed):
    """ORM objects: what is set on them, as a flush would see it."""

    def __init__(self, target: Target, computed: frozenset[str], *, fresh: bool) -> None:
        super().__init__(target, computed)
        self._fresh = fresh
        # None in one of these means "not given", as it does in a flush.
        self._given_by_default = [
            name
            for name, column in target.columns.items()
            if column.primary_key or column.default is not None or column.server_default is not None
        ]

    def groups(self, rows: list[Any], positions: Sequence[int]) -> list[Group]:
        if self._fresh:
            self._refuse_known(rows, positions)
        dicts = list(map(instance_dict, rows))
        for name in self._given_by_default:
            if any(each.get(name, self) is None for each in dicts):
                dicts = [_without(each, name) if each.get(name, self) is None else each for each in dicts]
        return self.by_keys(rows, dicts, positions)

    def shape(self, keys: tuple[Any, ...], position: int) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
        names = tuple(key for key in keys if key in self._target.columns and key not in self._computed)
        return names, _taker(itemgetter, names)

    def _refuse_known(self, rows: list[Any], positions: Sequence[int]) -> None:
        for index, state in enumerate(map(instance_state, rows)):
            if state.key is not None or state.session_id is not None:
                raise UsageError(
                    f"row {positions[index]} is an object that a session has loaded or will write itself",
                    hint="insert new objects that were not added to a session, or use update()",
                )


class _Objects(_Kind):
    """Dataclasses, msgspec structs, pydantic models, attrs classes."""

    def __init__(self, target: Target, computed: frozenset[str], fields: tuple[str, ...]) -> None:
        self._target = target
        self._computed = computed
        self._fields = fields
        self._names: tuple[str, ...] | None = None

    def groups(self, rows: list[Any], positions: Sequence[int]) -> list[Group]:
        if self._names is None:
            self._names = tuple(_known(self._target, self._computed, name, positions[0]) for name in self._fields)
        return [Group(self._names, positions, rows, list(map(_taker(attrgetter, self._fields), rows)))]


def _taker(getter: Any, names: tuple[Any, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that takes some values, always as a tuple."""
    if not names:
        return lambda row: ()
    take = getter(*names)
    return take if len(names) > 1 else lambda row: (take(row),)


def _without(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}

"""A mapped class as the repository sees it: its mapper, its tables and its primary key, looked up once.

Any mapping will do: declarative, dataclasses, imperative, SQLModel, composite keys, joined, single-table and concrete
inheritance. A class that is not mapped is a `UsageError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Alias, FromClause, Join, Select, func, select
from sqlalchemy.orm import ColumnProperty, InstrumentedAttribute, Mapper, class_mapper
from sqlalchemy.orm.exc import UnmappedClassError

from dal.errors import UsageError

__all__ = ["Entity", "entity_of", "flatten", "unaliased"]

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Entity(Generic[T]):
    """What is known of one mapped class.

    Args:
        cls: The class.
        mapper: Its mapper, configured.
        tables: The tables that a plain `select(cls)` contains.
        secondaries: The association tables of its many-to-many relationships.
        key: The attributes of its primary key.
        select: A plain `select(cls)`.
        count: A plain `select(count(*))` of its rows.
    """

    cls: type[T]
    mapper: Mapper[T]
    tables: frozenset[FromClause]
    secondaries: frozenset[FromClause]
    key: tuple[InstrumentedAttribute[Any], ...]
    select: Select[T]
    count: Select[int]

    @property
    def name(self) -> str:
        """The name of the class, for messages."""
        return self.cls.__name__

    @property
    def joined(self) -> bool:
        """Whether one row of it is kept in several tables."""
        return len(self.mapper.tables) > 1

    def member(self, obj: Any) -> T:
        """Return an object that is one of this entity.

        Raises:
            UsageError: It is something else.
        """
        if isinstance(obj, self.cls):
            return obj
        raise UsageError(
            f"a repository of {self.name} cannot take an object of the class {type(obj).__name__}",
            hint=f"pass {self.name} objects",
        )

    def identity(self, ident: Any) -> tuple[Any, ...] | None:
        """Return a primary key as a tuple, or None where a part of it is None.

        Args:
            ident: A value, a tuple in the order of the key's columns, or a mapping by attribute name.

        Raises:
            UsageError: It has too few or too many parts, or names another attribute.
        """
        if len(self.key) == 1 and not isinstance(ident, (tuple, list, Mapping)):
            return None if ident is None else (ident,)
        names = [attribute.key for attribute in self.key]
        if isinstance(ident, Mapping):
            parts = tuple(ident[name] for name in names if name in ident)
            fits = len(parts) == len(names) == len(ident)
        else:
            parts = tuple(ident) if isinstance(ident, (tuple, list)) else (ident,)
            fits = len(parts) == len(names)
        if fits:
            return None if None in parts else parts
        if ident is None:
            return None
        shape = names[0] if len(names) == 1 else f"({', '.join(names)})"
        raise UsageError(
            f"{ident!r} is not a primary key of {self.name}, which is made of {', '.join(names)}",
            hint=f"pass {shape}, or {{{', '.join(f'{name!r}: ...' for name in names)}}}",
        )


def flatten(selectable: Any) -> Iterable[FromClause]:
    """Yield the tables, aliases and subqueries that a FROM element is made of."""
    if isinstance(selectable, Join):
        yield from flatten(selectable.left)
        yield from flatten(selectable.right)
    elif isinstance(selectable, FromClause):
        yield selectable


def unaliased(selectable: FromClause) -> FromClause:
    """Return the table behind an alias, or the selectable itself."""
    return selectable.element if isinstance(selectable, Alias) else selectable


_known: WeakKeyDictionary[type, Entity[Any]] = WeakKeyDictionary()


def entity_of(cls: type[T]) -> Entity[T]:
    """Return what is known of a mapped class.

    Raises:
        UsageError: The class is not mapped, or it is not a class at all.
    """
    try:
        known = _known.get(cls)
    except TypeError:
        known = None
    if known is None:
        known = _describe(cls)
        _known[cls] = known
    return known


def _describe(cls: type[T]) -> Entity[T]:
    if not isinstance(cls, type):
        raise UsageError(f"a repository is made for a mapped class, not for {cls!r}", hint="write Repository(session, User)")
    try:
        mapper = class_mapper(cls)
    except UnmappedClassError as error:
        raise UsageError(
            f"{cls.__qualname__} is not mapped, so there is no table to read it from",
            hint="map it (DeclarativeBase, registry.map_imperatively, SQLModel with table=True) or name another class",
        ) from error
    surface = {*mapper.tables, *flatten(mapper.selectable), *flatten(mapper.persist_selectable)}
    for other in mapper.with_polymorphic_mappers:
        surface.update(other.tables)
    related = [relation.secondary for each in mapper.self_and_descendants for relation in each.relationships]
    properties = [mapper.get_property_by_column(column) for column in mapper.primary_key]
    return Entity(
        cls=cls,
        mapper=mapper,
        tables=frozenset(surface),
        secondaries=frozenset(table for table in related if table is not None),
        key=tuple(each.class_attribute for each in properties if isinstance(each, ColumnProperty)),
        select=select(cls),
        count=select(func.count()).select_from(cls),
    )

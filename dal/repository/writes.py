"""Update and delete by filter: SQL that runs in the database, while the session's objects follow.

One statement where the entity has one table. With joined inheritance the keys are read first, then every table that
holds a part of the rows is written: SQLAlchemy's own `update()` and `delete()` reach only one of them.
Cascades of relationships are the database's (ON DELETE), as with SQLAlchemy's `delete()`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from sqlalchemy import Column, CursorResult, Delete, Join, Update, select
from sqlalchemy import delete as sql_delete
from sqlalchemy import update as sql_update
from sqlalchemy.orm import ColumnProperty, CompositeProperty, Mapper, Session, SynonymProperty
from sqlalchemy.schema import Table, sort_tables

from dal.errors import UnsupportedError, UsageError
from dal.repository.entities import Entity
from dal.repository.identities import among, chunks
from dal.repository.statements import conditions, refuse_select
from dal.repository.types import Values

__all__ = ["delete", "update"]


def update(session: Session, entity: Entity[Any], written: tuple[Any, ...], values: Values) -> int:
    """Write values to the rows that filters select.

    Returns:
        The number of rows.

    Raises:
        UsageError: There is no filter, a filter cannot mean what was written, or a value names no column of the entity.
        UnsupportedError: The entity is not kept in a table.
    """
    clauses = _filters(entity, written, "update")
    named = {_name(entity, attribute): value for attribute, value in _given(values, entity).items()}
    if not entity.joined:
        keyed = {_column(entity, name): value for name, value in named.items()}
        return _run(session, sql_update(entity.cls).where(*clauses).values(keyed), entity)
    owners = {name: _owner(entity, name) for name in named}
    keys = _keys(session, entity, clauses)
    for mapper in entity.mapper.iterate_to_root():
        own = {name: value for name, value in named.items() if owners[name] is mapper.local_table}
        for part in chunks(keys, len(entity.key)) if own else ():
            _run(session, sql_update(mapper.class_).where(among(_key_of(mapper), part)).values(own), entity)
    return len(keys)


def delete(session: Session, entity: Entity[Any], written: tuple[Any, ...]) -> int:
    """Delete the rows that filters select.

    Returns:
        The number of rows.

    Raises:
        UsageError: There is no filter, or one cannot mean what was written.
        UnsupportedError: The entity is not kept in a table.
    """
    clauses = _filters(entity, written, "delete")
    alone = entity.mapper.inherits is None and len(entity.mapper.self_and_descendants) == 1
    hierarchy = {} if alone else _hierarchy(entity.mapper)
    if len(hierarchy) <= 1:
        return _run(session, sql_delete(entity.cls).where(*clauses), entity)
    keys = _keys(session, entity, clauses)
    *parts, root = (hierarchy[table] for table in reversed(sort_tables(hierarchy)))
    for chunk in chunks(keys, len(entity.key)):
        for mapper in parts:
            _run(session, sql_delete(cast("Table", mapper.local_table)).where(among(_key_of(mapper), chunk)), entity)
        _run(session, sql_delete(root.class_).where(among(_key_of(root), chunk)), entity)
    return len(keys)


def _filters(entity: Entity[Any], written: tuple[Any, ...], verb: str) -> list[Any]:
    if not written:
        raise UsageError(
            f"{verb} without a filter would reach every row of {entity.name}",
            hint=f"name the rows, or say sqlalchemy.true() to mean all: {verb}(true(), ...)",
        )
    if not isinstance(entity.mapper.selectable, (Table, Join)) or isinstance(entity.mapper.local_table, Join):
        source = "join" if isinstance(entity.mapper.local_table, Join) else "query"
        raise UnsupportedError(
            f"{entity.name} is read from a {source}, not from a table, so {verb} has no table to write",
            hint=f"change the objects, or write the table itself: session.execute({verb}(table).where(...))",
        )
    refuse_select(written, verb, entity)
    return conditions(entity, written, entity.tables)


def _given(values: Values, entity: Entity[Any]) -> Values:
    if not values:
        raise UsageError("update got no values", hint=f"write values={{{entity.name}.name: ...}}")
    if not isinstance(values, Mapping):
        raise UsageError(f"values is a {type(values).__name__}, not a dict", hint=f"write values={{{entity.name}.name: ...}}")
    return values


def _name(entity: Entity[Any], attribute: Any) -> str:
    name, owner = getattr(attribute, "key", None), getattr(attribute, "class_", None)
    if isinstance(attribute, Column) and attribute in entity.mapper.columns.values():
        return str(entity.mapper.get_property_by_column(attribute).key)
    if name is None or owner is None:
        raise UsageError(
            f"values names {attribute!r}, which is not an attribute", hint=f"write values={{{entity.name}.name: ...}}"
        )
    if not issubclass(entity.cls, owner) or name not in entity.mapper.all_orm_descriptors:
        raise UsageError(
            f"values names {owner.__name__}.{name}, which is not an attribute of {entity.name}",
            hint=f"set attributes of {entity.name}, or use the repository of {owner.__name__}",
        )
    if not _writable(entity, name):
        raise UsageError(
            f"{entity.name}.{name} is no column that an UPDATE could set",
            hint="set the columns it is made of; of a relationship, the attribute of its foreign key",
        )
    return str(name)


def _writable(entity: Entity[Any], name: str) -> bool:
    prop = entity.mapper.attrs.get(name)
    if isinstance(prop, ColumnProperty):
        return isinstance(prop.columns[0], Column)
    if prop is None:
        descriptor: Any = entity.mapper.all_orm_descriptors[name]
        return getattr(descriptor, "update_expr", None) is not None
    return isinstance(prop, (CompositeProperty, SynonymProperty))


def _column(entity: Entity[Any], name: str) -> Column[Any] | str:
    """Return the column of an attribute, which SQLAlchemy takes in less time than a name, or the name where it means more."""
    prop = entity.mapper.attrs.get(name)
    return cast("Column[Any]", prop.columns[0]) if isinstance(prop, ColumnProperty) and len(prop.columns) == 1 else name


def _keys(session: Session, entity: Entity[Any], clauses: Iterable[Any]) -> list[tuple[Any, ...]]:
    statement = select(*entity.key).select_from(entity.cls).where(*clauses).with_for_update()
    return [tuple(row) for row in session.execute(statement)]


def _owner(entity: Entity[Any], name: str) -> Any:
    attribute = entity.mapper.attrs.get(name)
    if not isinstance(attribute, ColumnProperty):
        raise UsageError(
            f"{entity.name}.{name} is not a column, and {entity.name} is kept in several tables",
            hint="set the columns it is made of",
        )
    return attribute.columns[0].table


def _hierarchy(mapper: Mapper[Any]) -> dict[Table, Mapper[Any]]:
    """Map the tables that may hold a part of the rows, each to the mapper whose own table it is."""
    lineage: list[Mapper[Any]] = []
    for each in mapper.iterate_to_root():
        lineage.append(each)
        if each.concrete:
            break
    below = [each for each in mapper.self_and_descendants if not each.concrete]
    return {cast("Table", each.local_table): each for each in (*reversed(below), *lineage)}


def _key_of(mapper: Mapper[Any]) -> list[Any]:
    """Return the columns of a mapper's own table that hold the primary key of its root."""
    key: list[Any] = list(mapper.primary_key)
    for each in reversed(list(mapper.iterate_to_root())):
        own = list(cast("Table", each.local_table).primary_key)
        if key[0].table is not each.local_table:
            key = [next((column for column in own if column.references(part)), own[at]) for at, part in enumerate(key)]
    return key


def _run(session: Session, statement: Update | Delete, entity: Entity[Any]) -> int:
    result = session.execute(statement, bind_arguments={"mapper": entity.mapper})
    return cast("CursorResult[Any]", result).rowcount

"""Insert an object, or write it over the row that has the same key: one statement, and the row comes back as an entity.

    INSERT INTO users (email, plan) VALUES (...) ON CONFLICT (email) DO UPDATE SET plan = excluded.plan RETURNING ...

PostgreSQL, SQLite and MariaDB (which looks at every unique key of the table, whatever `key` says). For many rows use
BulkWriter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeVar

from sqlalchemy import Column, Dialect, Integer, inspect
from sqlalchemy.orm import ColumnProperty, InstanceState, QueryableAttribute, Session

from dal.errors import UnsupportedError, UsageError
from dal.repository.entities import Entity
from dal.repository.types import Attribute

__all__ = ["upsert"]

T = TypeVar("T")

_MODULES = {
    "postgresql": "sqlalchemy.dialects.postgresql",
    "sqlite": "sqlalchemy.dialects.sqlite",
    "mysql": "sqlalchemy.dialects.mysql",
    "mariadb": "sqlalchemy.dialects.mysql",
}


def upsert(session: Session, entity: Entity[T], obj: T, key: Sequence[Attribute]) -> T:
    """Insert an object or update the row that has its key.

    Only what was set on the object is written; what was not keeps its default, or its value in the database.

    Returns:
        The row as it is now: the session's object, not the one passed in.

    Raises:
        UsageError: The object is not new, is of another class or carries related objects, or the key is not made of
            attributes of the entity.
        UnsupportedError: The entity is kept in several tables, or the database has no such statement.
    """
    state = _transient(entity, obj)
    if len(state.mapper.tables) > 1:
        raise UnsupportedError(
            f"{state.mapper.class_.__name__} is kept in several tables, and an INSERT writes one",
            hint="look for it with first(), then add() it or set its attributes",
        )
    conflict = [_key_column(entity, attribute) for attribute in _listed(entity, key)]
    if not conflict:
        raise UsageError("upsert got no key", hint=f"write key=[{entity.name}.{entity.key[0].key}]")
    values = _values(state)
    dialect = session.connection(bind_arguments={"mapper": entity.mapper}).dialect
    statement = _statement(dialect, state, values, conflict)
    stored: T = session.scalars(statement, execution_options={"populate_existing": True}).one()
    return stored


def _transient(entity: Entity[T], obj: T) -> InstanceState[Any]:
    state: InstanceState[Any] = inspect(entity.member(obj))
    if not state.transient:
        raise UsageError(
            f"upsert takes a new {entity.name}, and this one is in a session or was loaded by one",
            hint="set its attributes: the session writes them when it flushes",
        )
    carried = [relation.key for relation in state.mapper.relationships if state.dict.get(relation.key)]
    if carried:
        raise UsageError(
            f"upsert writes one row and would lose what {entity.name}.{carried[0]} carries",
            hint="set the foreign key's attribute, and upsert or add related objects on their own",
        )
    return state


def _listed(entity: Entity[Any], key: Any) -> Iterable[Any]:
    if isinstance(key, Iterable) and not isinstance(key, str):
        return key
    name = getattr(key, "key", key)
    raise UsageError(f"upsert's key is {key}, not a list of attributes", hint=f"write key=[{entity.name}.{name}]")


def _key_column(entity: Entity[Any], attribute: Any) -> Column[Any]:
    prop = getattr(attribute, "property", None)
    shown = str(attribute) if isinstance(attribute, QueryableAttribute) else repr(attribute)
    if not isinstance(prop, ColumnProperty) or not entity.mapper.isa(prop.parent.mapper):
        raise UsageError(
            f"upsert's key names {shown}, which is not a column attribute of {entity.name}",
            hint=f"write key=[{entity.name}.{entity.key[0].key}]",
        )
    column = prop.columns[0]
    if not isinstance(column, Column):
        raise UsageError(f"{entity.name}.{prop.key} is not a column of a table", hint="name columns of a unique key")
    return column


def _values(state: InstanceState[Any]) -> dict[Column[Any], Any]:
    values: dict[Column[Any], Any] = {}
    for prop in state.mapper.column_attrs:
        column = prop.columns[0]
        if prop.key not in state.dict or not isinstance(column, Column):
            continue
        value = state.dict[prop.key]
        # A dataclass or SQLModel sets a key that the database is to give to None.
        if value is not None or not column.primary_key:
            values[column] = value
    version = _version_of(state)
    if version is not None:
        generator: Any = state.mapper.version_id_generator
        values[version] = generator(None)
    return values


def _version_of(state: InstanceState[Any]) -> Column[Any] | None:
    """Return the column of an entity's version where SQLAlchemy counts it, not the database."""
    version = state.mapper.version_id_col
    return version if isinstance(version, Column) and callable(state.mapper.version_id_generator) else None


def _statement(dialect: Dialect, state: InstanceState[Any], values: Mapping[Any, Any], conflict: list[Column[Any]]) -> Any:
    cls = state.mapper.class_
    written = {state.mapper.get_property_by_column(column).key: value for column, value in values.items()}
    changed = [column for column in values if column not in conflict and not column.primary_key] or conflict
    module = _MODULES.get(dialect.name)
    if module is not None and dialect.insert_returning:
        # A dialect's module is imported by the engine that uses it, and by nobody else.
        insert: Any = import_module(module).insert(cls).values(written)
    else:
        raise UnsupportedError(
            f"{dialect.name} cannot insert or update a row and return it in one statement",
            hint="look for it with first(), then add() it or set its attributes",
        )
    if module == _MODULES["mysql"]:
        insert = insert.on_duplicate_key_update(_changes(state, changed, insert.inserted))
    else:
        insert = insert.on_conflict_do_update(index_elements=conflict, set_=_changes(state, changed, insert.excluded))
    return insert.returning(cls)


def _changes(state: InstanceState[Any], changed: list[Column[Any]], proposed: Any) -> dict[str, Any]:
    changes = {column.name: proposed[column.key] for column in changed}
    version = _version_of(state)
    if version is not None and isinstance(version.type, Integer):
        changes[version.name] = version + 1
    for column in state.mapper.local_table.columns:
        # ON CONFLICT does not run a column's `onupdate`; an ordinary UPDATE of the row would.
        onupdate: Any = getattr(column, "onupdate", None)
        if onupdate is not None and column.name not in changes and not onupdate.is_sequence:
            changes[column.name] = onupdate.arg(None) if onupdate.is_callable else onupdate.arg
    return changes

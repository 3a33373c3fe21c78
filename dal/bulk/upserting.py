"""Upserting: the statement by which SQLAlchemy inserts or updates rows of one table, in the form that a database has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, literal_column

from dal.bulk.target import Part, Target
from dal.errors import UnsupportedError

__all__ = ["upsert"]

_MODULES = {"sqlite": "sqlite", "postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}


def upsert(connection: Connection, target: Target, part: Part, key: Sequence[str], written: Sequence[str]) -> Any:
    """Return an INSERT that updates the rows that are there.

    Args:
        connection: Where it will be sent.
        target: What is written.
        part: The table.
        key: The attributes that tell rows apart, in the root's table; the others have the primary key.
        written: The attributes that are set, in whichever table.

    Raises:
        UnsupportedError: The database has no such statement.
    """
    dialect, several = connection.dialect, len(target.parts) > 1
    if dialect.name not in _MODULES:
        raise UnsupportedError(
            f"{dialect.name} has no statement that inserts or updates",
            hint="update() the rows that are there and insert() the others",
        )
    # A dialect's module is imported by the engine that uses it, and by nobody else.
    insert: Any = import_module(f"sqlalchemy.dialects.{_MODULES[dialect.name]}").insert(part.table)
    by = key if part is target.root else target.key
    own = [name for name in written if name in part.columns and not (several and name in target.constants)]
    columns, further = part.columns, _on_update(target, part, own)
    if dialect.name in {"mysql", "mariadb"}:
        sets = {columns[name].name: insert.inserted[columns[name].key] for name in own or by}
        return insert.on_duplicate_key_update({**sets, **further})
    elements = [columns[name] for name in by]
    # Of one table only new rows are left where nothing is set; in the root's of several, a version counts all the same.
    if not own and not (several and further):
        return insert.on_conflict_do_nothing(index_elements=elements)
    sets = {columns[name].name: insert.excluded[columns[name].key] for name in own}
    return insert.on_conflict_do_update(index_elements=elements, set_={**sets, **further})


def _on_update(target: Target, part: Part, written: Sequence[str]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for name, column in part.columns.items():
        if name in written:
            continue
        if target.mapper is not None and target.mapper.version_id_col is column:
            # No parameter: PyMySQL takes the statement apart, and finds none behind the values.
            found[column.name] = column + literal_column("1")
        elif column.onupdate is not None:
            onupdate: Any = column.onupdate
            found[column.name] = onupdate.arg(None) if onupdate.is_callable else onupdate.arg
    return found

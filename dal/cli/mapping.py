"""A mapping beside the database it maps: tables that are missing, and foreign keys that no index serves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, ForeignKeyConstraint, Inspector, MetaData, Table, inspect
from sqlalchemy.exc import ArgumentError, InvalidRequestError
from sqlalchemy.orm import registry

from dal.database.health import Problem
from dal.errors import ConfigError

__all__ = ["problems", "read_models"]

_SEARCHABLE = {"btree", "hash", None}


def read_models(name: str) -> Any:
    """Import a declarative base, a registry or a MetaData.

    Args:
        name: Such as `app.models:Base`.

    Returns:
        What is there.

    Raises:
        ConfigError: The name is malformed, or there is nothing that has a MetaData.
    """
    match = re.fullmatch(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)", name)
    if match is None:
        raise ConfigError(f"--models: {name!r} is not accepted", hint="write module:name, such as app.models:Base")
    try:
        found = getattr(import_module(match[1]), match[2], None)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"--models: the module {error.name!r} cannot be imported", hint="run the command in the folder that holds it"
        ) from error
    if not isinstance(found, MetaData) and not isinstance(getattr(found, "metadata", None), MetaData):
        raise ConfigError(
            f"--models: {match[1]} has no {match[2]!r} that is a MetaData or has one",
            hint="name the declarative base: app.models:Base",
        )
    return found


def problems(models: Any, connection: Connection) -> Iterator[Problem]:
    """Compare a mapping with a database; reads only.

    Args:
        models: A declarative base, a registry or a MetaData.
        connection: The database.

    Yields:
        What is wrong: a mapping that does not hold together, a missing table, a foreign key without an index.
    """
    yield from _broken(models)
    inspector = inspect(connection)
    metadata: MetaData = models if isinstance(models, MetaData) else models.metadata
    for table in metadata.sorted_tables:
        if not inspector.has_table(table.name, schema=table.schema):
            yield Problem(
                f"the table {table.fullname} is mapped, but not in the database",
                "dal migrate new 'what changed', then dal migrate up; or check the URL and the search_path",
            )
        else:
            yield from _unserved(table, inspector)


def _broken(models: Any) -> Iterator[Problem]:
    classes: Any = models if isinstance(models, registry) else getattr(models, "registry", None)
    if classes is None:
        return
    try:
        classes.configure(cascade=True)
    except (ArgumentError, InvalidRequestError) as error:
        told = " ".join(str(error).split("\n")[0].split())
        yield Problem(f"the mapping does not hold together: {told}", "correct the relationship or column that this names")


def _unserved(table: Table, inspector: Inspector) -> Iterator[Problem]:
    served = list(_served(table, inspector))
    told: set[tuple[str, ...]] = set()
    for key in sorted(table.foreign_key_constraints, key=_columns):
        columns = _columns(key)
        if columns in told or any(set(columns) == set(leading[: len(columns)]) for leading in served):
            continue
        told.add(columns)
        names = ", ".join(columns)
        yield Problem(
            f"no index serves the foreign key {table.fullname} ({names}): joins, and deleting from "
            f"{key.referred_table.fullname}, read the whole table",
            _fix(table, columns, inspector),
        )


def _fix(table: Table, columns: Sequence[str], inspector: Inspector) -> str:
    dialect: Any = inspector.dialect
    quote = dialect.identifier_preparer
    concurrently = "CONCURRENTLY " if dialect.name == "postgresql" else ""
    named = "" if dialect.name == "postgresql" else quote.quote(f"ix_{table.name}_{'_'.join(columns)}") + " "
    statement = f"CREATE INDEX {concurrently}{named}ON {quote.format_table(table)} ({', '.join(map(quote.quote, columns))})"
    in_code = "index=True on the column" if len(columns) == 1 else f"Index(None, {', '.join(map(repr, columns))})"
    return f"{in_code} and a migration, or {statement}"


def _columns(key: ForeignKeyConstraint) -> tuple[str, ...]:
    return tuple(column.name for column in key.columns)


def _served(table: Table, inspector: Inspector) -> Iterable[Sequence[str | None]]:
    """List the columns of each index of the database that finds a row by the first of them."""
    yield inspector.get_pk_constraint(table.name, schema=table.schema)["constrained_columns"]
    for constraint in inspector.get_unique_constraints(table.name, schema=table.schema):
        yield constraint["column_names"]
    for index in inspector.get_indexes(table.name, schema=table.schema):
        options = index.get("dialect_options", {})
        if options.get("postgresql_using") in _SEARCHABLE and not _is_partial(options, index["column_names"]):
            yield index["column_names"]


def _is_partial(options: dict[str, Any], columns: Sequence[str | None]) -> bool:
    """Tell whether an index leaves out rows that a search by its columns wants; rows without a value are not."""
    where = next((str(options[name]) for name in ("postgresql_where", "sqlite_where") if options.get(name) is not None), "")
    return bool(where) and not any(re.fullmatch(rf'\(?"?{re.escape(name)}"? IS NOT NULL\)?', where) for name in columns if name)

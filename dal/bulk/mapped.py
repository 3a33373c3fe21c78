"""What a mapping alone says of rows, where no catalog is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Column, Table, tuple_
from sqlalchemy.exc import DBAPIError, IntegrityError

from dal.bulk.groups import Group
from dal.bulk.refusal import Refused
from dal.bulk.target import Part, Target

__all__ = ["among", "differs", "flat", "keys_of", "lacking", "of_part", "refused_by"]

Row = dict[str, Any]


def flat(chunks: Iterator[list[Group]]) -> Iterator[Group]:
    """Return the groups of all chunks."""
    return (group for groups in chunks for group in groups)


def keys_of(group: Group, key: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the key of each row."""
    places = [group.names.index(name) for name in key]
    return [tuple(row[place] for place in places) for row in group.values]


def differs(group: Group, at: int, written: Sequence[str], there: Sequence[Any]) -> bool:
    """Tell whether a row would change what is there."""
    row = group.values[at]
    return any(row[group.names.index(name)] != value for name, value in zip(written, there, strict=True))


def of_part(rows: list[Row], part: Part) -> list[Row]:
    """Return what one table takes of rows, by the keys of its columns."""
    names = {name: column.key for name, column in part.columns.items()}
    return [{names[name]: value for name, value in row.items() if name in names} for row in rows]


def among(columns: Sequence[Column[Any]], keys: Sequence[tuple[Any, ...]]) -> Any:
    """Return the condition that a row has one of some keys."""
    return columns[0].in_([key[0] for key in keys]) if len(columns) == 1 else tuple_(*columns).in_(keys)


def lacking(group: Group, target: Target) -> str | None:
    """Return an attribute that rows would need, as the mapping has it."""
    for part in target.parts:
        for name, column in part.columns.items():
            given = name in group.names or name in target.constants or column.nullable or column.computed is not None
            default = column.default is not None or column.server_default is not None or column.identity is not None
            if not (given or default or _numbered(column, part.table) or name in target.key) and not _is_version(
                column, target
            ):
                return name
    return None


def _numbered(column: Column[Any], table: Table) -> bool:
    return table.autoincrement_column is column


def _is_version(column: Column[Any], target: Target) -> bool:
    return target.mapper is not None and target.mapper.version_id_col is column


def refused_by(error: Exception) -> Refused:
    """Return the refusal that a database's error is."""
    orig = getattr(error, "orig", None) or error
    code = "23000" if isinstance(error, IntegrityError) else ""
    state = getattr(orig, "sqlstate", None) or code
    return Refused(None, str(orig), sqlstate=state, orig=orig if isinstance(error, DBAPIError) else error)

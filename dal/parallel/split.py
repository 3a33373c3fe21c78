"""How a table is cut into parts: by ranges of a key, by a hash of it, or by where the rows lie.

Ranges are evened by statistics and can use an index; their order is the key's. A hash keeps the rows of one key together
whatever its distribution, but each part reads the whole table. Physical ranges (ctid) need no key and no index: each part
reads its own blocks, of every partition where there are some. What a statement cannot be cut by is refused here.
"""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, FromClause, Select, inspect
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.sql import Join, visitors
from sqlalchemy.sql.elements import Over

from dal.errors import UsageError
from dal.parallel import _internals, hashes, physical, ranges
from dal.parallel.part import Part

__all__ = ["By", "Split", "check_statement", "cut", "is_key", "key_of"]

Split = Literal["range", "hash", "physical"]
By = Any
"""A column, an attribute of a mapped class, an SQL expression of its tables; for physical ranges a table or class."""


def is_key(by: By) -> bool:
    """Tell whether `by` is an expression, rather than a class or a table."""
    return isinstance(by.__clause_element__() if hasattr(by, "__clause_element__") else by, ColumnElement)


def key_of(by: By) -> ColumnElement[Any]:
    """Return the expression that `by` means.

    Raises:
        UsageError: It is none.
    """
    made = by.__clause_element__() if hasattr(by, "__clause_element__") else by
    if not isinstance(made, ColumnElement):
        raise UsageError(f"by={by!r} is no column", hint='by=Flight.id, or split="physical" with by=Flight or without by')
    return made


def check_statement(statement: Select[Any], by: By, split: Split) -> None:
    """Refuse a statement whose parts together are not the whole.

    Args:
        statement: The statement.
        by: What it is to be cut by.
        split: How.

    Raises:
        UsageError: It has a limit, a lock, a window function, or groups by something else.
    """
    if not isinstance(statement, Select):
        raise UsageError(
            f"parallel runs a select() statement, this is a {type(statement).__name__}",
            hint="db.parallel(select(A), by=A.id); a union goes in as select(union(...).subquery())",
        )
    if split not in ("range", "hash", "physical"):
        raise UsageError(f"split={split!r} is no way to cut a table", hint='write "range", "hash" or "physical"')
    if _internals.is_limited(statement):
        raise UsageError("a limit would count in each part anew", hint="leave limit() and offset() out, or use a plain session")
    if _internals.is_locking(statement):
        raise UsageError("a scan is read-only and cannot lock rows", hint="leave with_for_update() out")
    if any(isinstance(each, Over) for column in statement.selected_columns for each in visitors.iterate(column)):
        raise UsageError("a window function would see one part only", hint="compute it over the rows, or in a subquery")
    grouped = _internals.grouping(statement)
    if not grouped and not _internals.is_distinct(statement):
        return
    columns = grouped or list(statement.selected_columns)
    if split == "physical" or not any(key_of(by).compare(column) for column in columns):
        raise UsageError(
            "the rows of one group would be in several parts",
            hint="split by one of the columns that are grouped or distinct, or group in the function",
        )


def cut(connection: Connection, statement: Select[Any], by: By, split: Split, parts: int) -> list[Part]:
    """Cut a statement into parts.

    Args:
        connection: On PostgreSQL in the snapshot that all parts are read in.
        statement: One that `check_statement` let through.
        by: What it is cut by.
        split: How.
        parts: How many parts to aim at.

    Returns:
        The parts, at least one; fewer where the keys or blocks are fewer.

    Raises:
        UsageError: `by` does not belong to the statement, or lies nowhere on disk.
    """
    holes = _has_outer_join(statement)
    if split == "physical":
        table = _table_of(statement, by)
        _belongs(statement, _internals.ctid_of(table), by)
        found = physical.conditions(connection, table, parts, holes=holes)
    else:
        key = key_of(by)
        _belongs(statement, key, by)
        if split == "hash":
            found = hashes.conditions(connection, key, parts)
        else:
            found = ranges.conditions(connection, statement, key, parts, holes=holes)
    if not found:
        return [Part(1, 1, "everything")]
    return [Part(number, len(found), bounds, condition) for number, (bounds, condition) in enumerate(found, start=1)]


def _belongs(statement: Select[Any], key: ColumnElement[Any], by: By) -> None:
    if len(statement.where(key.is_not(None)).get_final_froms()) > len(statement.get_final_froms()):
        raise UsageError(f"by={by} is of a table that the statement does not read", hint="split by a column of the statement")


def _table_of(statement: Select[Any], by: By) -> FromClause:
    if by is None:
        described = statement.column_descriptions[0]
        by = described.get("entity")
        if by is None:
            froms = statement.get_final_froms()
            by = froms[0] if len(froms) == 1 else None
    try:
        table = inspect(by).selectable
    except (NoInspectionAvailable, AttributeError):
        table = getattr(key_of(by), "table", None) if by is not None else None
    while isinstance(table, Join):
        table = table.left
    if not isinstance(table, FromClause):
        raise UsageError("the statement does not say which table to cut", hint="by=Flight, or by=Flight.id for ranges of a key")
    return table


def _has_outer_join(statement: Select[Any]) -> bool:
    return any(
        isinstance(each, Join) and (each.isouter or each.full)
        for source in statement.get_final_froms()
        for each in visitors.iterate(source)
    )

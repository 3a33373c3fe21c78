"""What rows do not carry and Python gives: defaults, the discriminator, a first version, ids taken from their sequence.

What the server gives by itself (server defaults, identity, generated columns) is left out of the statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Column, Connection, func, select
from sqlalchemy.schema import DefaultGenerator

from dal.bulk.arrow import extended
from dal.bulk.catalog import TableFacts
from dal.bulk.rows import Group
from dal.bulk.target import Target
from dal.bulk.wire import Wire

__all__ = ["allocated", "filled", "lacking"]


def filled(group: Group, target: Target, connection: Connection) -> Group:
    """Add what an INSERT by SQLAlchemy would add.

    Args:
        group: The rows.
        target: Where they go.
        connection: Where SQL expressions are evaluated.

    Returns:
        The rows, with further names and values.
    """
    for name, column in target.columns.items():
        if name in group.names or column.computed is not None:
            continue
        values = _given(group, name, column, target, connection)
        if values is not None:
            group = _with(group, name, values)
    return group


def lacking(group: Group, target: Target, facts: TableFacts) -> str | None:
    """Return an attribute that the rows of a group would need, or None.

    Args:
        group: The rows, filled.
        target: Where they go.
        facts: What the catalog says of the root's table.
    """
    for name, column in target.columns.items():
        known = facts.columns.get(column.name)
        if known and known.required and known.default is None and not known.computed and name not in group.names:
            return name
    return None


def allocated(group: Group, target: Target, facts: TableFacts, wire: Wire) -> Group:
    """Take the ids that the server would give, so that they are known before the rows are written.

    Args:
        group: The rows.
        target: Where they go.
        facts: What the catalog says of the root's table.
        wire: The connection.
    """
    missing = [name for name in target.key if name not in group.names]
    for name in missing:
        default = facts.columns[target.columns[name].name].default
        if default is not None:
            doubled = default.replace("%", "%%")
            rows = wire.fetch(f"SELECT {doubled} FROM generate_series(1, %s)", (len(group.values),))
            group = _with(group, name, [row[0] for row in rows])
    return group


def _with(group: Group, name: str, values: Sequence[Any]) -> Group:
    if group.batch is not None:
        return extended(group, name, values)
    added = [(*row, value) for row, value in zip(group.values, values, strict=True)]
    return replace(group, names=(*group.names, name), values=added)


def _given(group: Group, name: str, column: Column[Any], target: Target, connection: Connection) -> Sequence[Any] | None:
    number = len(group.values)
    if name in target.constants:
        return _discriminators(group, name, target)
    mapper = target.mapper
    if mapper is not None and mapper.version_id_col is column and callable(mapper.version_id_generator):
        first = mapper.version_id_generator(None)
        return [first] * number
    default: Any = column.default
    if default is None:
        return None
    if default.is_callable:
        return [default.arg(_Context(group.names, row)) for row in group.values]
    if default.is_scalar:
        return [default.arg] * number
    return _evaluated(default, number, connection)


def _discriminators(group: Group, name: str, target: Target) -> Sequence[Any]:
    """Return the identity of each row's class; an ORM object may be of a subclass, but then it carries its own."""
    return [target.constants[name]] * len(group.values)


def _evaluated(default: DefaultGenerator, number: int, connection: Connection) -> Sequence[Any]:
    """Evaluate a sequence or an SQL expression once for each row."""
    expression: Any = default.next_value() if default.is_sequence else default.arg  # type: ignore[attr-defined]
    if connection.dialect.name == "postgresql":
        statement = select(expression).select_from(func.generate_series(1, number))
        return list(connection.execute(statement).scalars())
    return [connection.scalar(select(expression)) for _ in range(number)]


class _Context:
    """What a default that looks at its row is called with."""

    def __init__(self, names: Sequence[str], row: Sequence[Any]) -> None:
        self.current_parameters = dict(zip(names, row, strict=True))

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> dict[str, Any]:
        """Return the values of the row."""
        return self.current_parameters

"""Singly: the operations of a batch one by one, where there is no statement for many: other databases, joined inheritance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, select

from dal.bulk.arrays import Doing
from dal.bulk.target import Target
from dal.bulk.writer import BulkWriter

__all__ = ["Singly"]


class Singly:
    """Writes operations one by one.

    Args:
        entity: The mapped class or Table.
        target: Where its rows go.
    """

    def __init__(self, entity: type[Any] | Table, target: Target) -> None:
        self._entity, self._target = entity, target

    def write(self, connection: Connection, operation: Doing) -> Sequence[Any] | None:
        """Write an operation.

        Args:
            connection: The connection, in a transaction.
            operation: What to write.

        Returns:
            The values of its row, in the order of the target's columns; None where there is no row.

        Raises:
            RowError: It cannot be written.
        """
        writer: BulkWriter[Any] = BulkWriter(connection, self._entity)
        names = list(self._target.columns)
        if operation.kind == "insert":
            rows = writer.insert([operation.item], returning=names).rows
        elif operation.kind == "upsert":
            rows = writer.upsert([operation.item], key=operation.key, returning=names).rows
        elif operation.kind == "update":
            rows = writer.update([operation.item], key=operation.key, returning=names).rows
        else:
            rows = self._read(connection, operation)
            writer.delete([operation.of], key=operation.key)
        return rows[0] if rows else None

    def _read(self, connection: Connection, operation: Doing) -> list[Any]:
        columns = self._target.columns
        same = [columns[name] == value for name, value in zip(operation.key, operation.of, strict=True)]
        kin = self._target.kin(self._target.table)
        statement = select(*columns.values()).select_from(self._target.source).where(*same)
        return list(connection.execute(statement if kin is None else statement.where(kin)))

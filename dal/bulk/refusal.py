"""Refused: the database, or psycopg before it, refuses a row; which one, and what is wrong with it.

PostgreSQL names the line of a COPY in the error's context for what it finds in a row (types, lengths, NOT NULL, CHECK,
unique keys), and only the key for what it finds at the end (foreign keys).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import DBAPIError

from dal.bulk.plan import BadValue, ColumnPlan
from dal.bulk.result import Rejected
from dal.bulk.wire import BadRow
from dal.errors import RowConflict, RowError

__all__ = ["Refused", "of_bad_row", "of_bad_value", "of_error", "of_report", "of_rows", "row_error"]

_LINE = re.compile(r"^COPY .+?, \S+ (\d+)(?:, \S+ ([^:\n]+))?", re.MULTILINE)
_KEY = re.compile(r"\((.+?)\)=\((.*)\)", re.DOTALL)
_SHOWN = 80
_OF_ROWS = {"21", "22", "23", "42", "44", "P0"}


class Refused(Exception):
    """A row was refused.

    Args:
        index: Its place among the rows sent, or None where the server did not name it.
        reason: What is wrong.
        column: The attribute at fault.
        sqlstate: PostgreSQL's code; "" where it was refused before it was sent.
        constraint: The constraint.
        key: Database columns and the text of their values, where these name the row.
        orig: The driver's error.
    """

    def __init__(
        self,
        index: int | None,
        reason: str,
        *,
        column: str | None = None,
        sqlstate: str = "",
        constraint: str | None = None,
        key: tuple[Sequence[str], str] | None = None,
        orig: BaseException | None = None,
    ) -> None:
        super().__init__(index, reason)
        self.index = index
        self.reason = reason
        self.column = column
        self.sqlstate = sqlstate
        self.constraint = constraint
        self.key = key
        self.orig = orig

    def rejected(self, position: int, row: Any, value: Any) -> Rejected:
        """Return it as the caller gets it."""
        return Rejected(
            position=position,
            reason=self.reason,
            column=self.column,
            value=value,
            sqlstate=self.sqlstate,
            constraint=self.constraint,
            row=row,
        )


def of_bad_value(error: BadValue) -> Refused:
    """Return the refusal for a value that its column does not take."""
    return Refused(error.index, _said(error.error), column=error.column, orig=error.error)


def of_bad_row(error: BadRow, plan: ColumnPlan, row: Sequence[Any]) -> Refused:
    """Return the refusal for a row that psycopg cannot encode; the column is found by encoding each value alone."""
    for planned, value in zip(plan.columns, row, strict=True):
        found = _fault(planned.kind.wire, value)
        if found is not None:
            return Refused(error.index, _said(found), column=planned.name, orig=found)
    return Refused(error.index, _said(error.error), orig=error.error)


def _fault(wire: str, value: Any) -> Exception | None:
    from psycopg import adapters, pq
    from psycopg.adapt import Transformer

    if value is None:
        return None
    transformer = Transformer.from_context(None)
    try:
        transformer.set_dumper_types([_oid(adapters, wire)], pq.Format.BINARY)
        transformer.dump_sequence([value], [])
    except Exception as error:
        return error
    return None


def _oid(adapters: Any, wire: str) -> int:
    oid: int = adapters.types.get_oid(wire)
    return oid


def of_rows(error: DBAPIError) -> bool:
    """Tell whether rows may have brought about an error, or their types, so that another route may tell more of it."""
    return not error.connection_invalidated and (getattr(error.orig, "sqlstate", None) or "22")[:2] in _OF_ROWS


def of_error(error: DBAPIError, plan: ColumnPlan) -> Refused | None:
    """Return the refusal that a server's error is, or None where it is about no row.

    Args:
        error: SQLAlchemy's error around psycopg's.
        plan: The columns that were sent.
    """
    orig: Any = error.orig
    sqlstate: str = getattr(orig, "sqlstate", None) or ""
    if sqlstate[:2] not in {"22", "23"} and sqlstate not in {"44000", "P0001"}:
        return None
    diag = orig.diag
    line = _LINE.search(diag.context or "")
    column = diag.column_name or (line.group(2) if line else None)
    return of_report(
        sqlstate,
        diag.message_primary,
        diag.message_detail,
        column,
        diag.constraint_name,
        plan=plan,
        index=int(line.group(1)) - 1 if line else None,
        orig=orig,
    )


def of_report(
    sqlstate: str,
    message: str,
    detail: str | None,
    column: str | None,
    constraint: str | None,
    *,
    plan: ColumnPlan,
    index: int | None = None,
    orig: BaseException | None = None,
) -> Refused:
    """Return the refusal for what PostgreSQL says of a row.

    Args:
        sqlstate: Its code.
        message: Its message.
        detail: More of it: the key, where the row has one that is refused.
        column: The database's name of a column.
        constraint: The constraint.
        plan: The columns that were sent.
        index: The row's place.
        orig: The driver's error.
    """
    key = _KEY.search(detail or "")
    named = _attribute(plan, column or None)
    if named is None and key is not None and "," not in key.group(1):
        named = _attribute(plan, key.group(1))
    shown = f": {detail}" if detail and key is not None else ""
    return Refused(
        index,
        f"{message}{shown}",
        column=named,
        sqlstate=sqlstate,
        constraint=constraint or None,
        key=(key.group(1).split(", "), key.group(2)) if key else None,
        orig=orig,
    )


def _attribute(plan: ColumnPlan, column: str | None) -> str | None:
    if column is None:
        return None
    name = column.strip('"')
    return next((planned.name for planned in plan.columns if planned.column.name == name), name)


def _said(error: BaseException) -> str:
    return f"{error}" if str(error) else type(error).__name__


def row_error(rejected: Rejected, target: str, orig: BaseException | None) -> RowError:
    """Return the error that a call raises for a row."""
    where = f"{target}.{rejected.column}" if rejected.column else target
    value = "" if rejected.column is None else f" = {_short(rejected.value)}"
    kind = RowConflict if rejected.sqlstate[:2] == "23" else RowError
    return kind(
        f"row {rejected.position} was refused, and nothing was written: {where}{value}: {rejected.reason}",
        hint='mend the row, or write the good ones and get the bad ones back: on_error="reject"',
        position=rejected.position,
        column=rejected.column,
        value=rejected.value,
        row=rejected.row,
        sqlstate=rejected.sqlstate,
        constraint=rejected.constraint,
        orig=orig,
    )


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."

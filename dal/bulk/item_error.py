"""The error of one item of a batch: what the database refused, told as an error of dal's and of the item alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import DBAPIError

from dal.bulk.plan import ColumnPlan
from dal.bulk.refusal import Refused, of_error
from dal.bulk.target import Target
from dal.errors import RowConflict, RowError, UsageError

__all__ = ["error_of_item", "item_error"]

_NO_SUCH_KEY = "42P10"


def error_of_item(error: Exception, target: Target, item: Any, key: tuple[str, ...]) -> Exception:
    """Return the error that an item gets for the one that its statement raised.

    Args:
        error: What was raised when it was written alone.
        target: Where it was to go.
        item: The item.
        key: The attributes that were to identify its row.
    """
    if not isinstance(error, DBAPIError) or isinstance(error, RowError):
        return error
    made: Exception
    if getattr(error.orig, "sqlstate", None) == _NO_SUCH_KEY:
        made = UsageError(
            f"{target.name} has no unique key of {', '.join(key)}",
            hint="key= has to be the columns of a primary key, a unique constraint or a unique index",
        )
    elif (refused := of_error(error, ColumnPlan(()))) is not None:
        refused.column = next((name for name, column in target.columns.items() if column.name == refused.column), None)
        made = item_error(refused, target, item)
    else:
        return error
    made.__cause__ = error
    return made


def item_error(refused: Refused, target: Target, item: Any) -> RowError:
    """Return the error for an item that was refused.

    Args:
        refused: Why.
        target: Where it was to go.
        item: The item.
    """
    value = None
    if refused.column is not None:
        value = item.get(refused.column) if isinstance(item, Mapping) else vars(item).get(refused.column)
    where = target.name if refused.column is None else f"{target.name}.{refused.column} = {value!r:.80}"
    kind = RowConflict if refused.sqlstate.startswith("23") else RowError
    return kind(
        f"the item was refused: {where}: {refused.reason}",
        hint="mend the item and submit it again; the others of its batch are written",
        column=refused.column,
        value=value,
        row=item,
        sqlstate=refused.sqlstate,
        constraint=refused.constraint,
        orig=refused.orig,
    )

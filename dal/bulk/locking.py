"""Locking: rows are locked in the order of their key before a statement writes them, whatever its plan.

    WITH given AS (...), dal_locked AS MATERIALIZED (SELECT ... FROM t JOIN given ... ORDER BY key FOR NO KEY UPDATE OF t),
    written AS (UPDATE ... AND (SELECT count(*) FROM dal_locked) >= 0 RETURNING 1) SELECT ...

It is for few rows, whose locks cost little, and tells at once how many of them are there. Many rows are joined in order
instead, which costs less than other joins do; only where a join cannot keep the order, they are locked first too.
"""

from __future__ import annotations

from dal.bulk import apply
from dal.bulk.ordering import order_by

__all__ = ["counted_delete", "counted_update", "lock"]


def counted_update(applied: apply.Applied, given: str) -> str:
    """Return an update that tells how many rows are there, how many were changed, and how many keys came more than once.

    Args:
        applied: What it is made of.
        given: The rows as a SELECT.
    """
    return _locking(applied, given, "NO KEY UPDATE", f"{apply.update(applied)} AND {_LOCKED} RETURNING 1")


def counted_delete(applied: apply.Applied, given: str) -> str:
    """Return a delete that tells how many rows are there, how many are gone, and how many keys came more than once.

    Args:
        applied: What it is made of.
        given: The keys as a SELECT.
    """
    return _locking(applied, given, "UPDATE", f"{apply.delete(applied)} AND {_LOCKED} RETURNING 1")


_LOCKED = "(SELECT count(*) FROM dal_locked) >= 0"


def _locking(applied: apply.Applied, given: str, strength: str, statement: str) -> str:
    """Return a statement for few rows that locks them in order before it writes them, whatever its plan."""
    return (
        f"WITH {applied.stage.name} AS MATERIALIZED ({given}), dal_locked AS MATERIALIZED ({_locks(applied, strength)}), "
        f"written AS ({statement}) "
        f"SELECT (SELECT count(*) FROM dal_locked), count(*), {apply.twice(applied)} FROM written"
    )


def lock(applied: apply.Applied, strength: str) -> str:
    """Return a query that locks the rows of the table that are staged, in order.

    Args:
        applied: What they are.
        strength: "UPDATE", or "NO KEY UPDATE".
    """
    return f"SELECT count(*) FROM ({_locks(applied, strength)}) AS l"


def _locks(applied: apply.Applied, strength: str) -> str:
    order = order_by(applied.context, applied.key, applied.part, "dal_target.")
    return (
        f"SELECT 1 FROM {applied.context.table(applied.part)} AS dal_target "
        f"JOIN {applied.stage.name} AS s ON {apply.same_row(applied)} ORDER BY {order} FOR {strength} OF dal_target"
    )

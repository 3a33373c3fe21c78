"""Few: rows written by one statement on PostgreSQL, which costs a third of what a staging table does for one row.

    WITH dal_given AS MATERIALIZED (SELECT ... FROM unnest(%b::int8[], %b::text[]) WITH ORDINALITY ...),
    written AS (INSERT INTO users ... SELECT ... FROM dal_given ORDER BY id ON CONFLICT ... RETURNING ...) SELECT count(*) ...

Updates and deletes lock their rows first, in the order of the key; see `locking`. It is tried under a savepoint. Where a row is
refused nothing was written, and the caller goes on as for many rows, where the row is found. There is no such route
for inserts: a COPY costs less from the first row on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import DBAPIError

from dal.bulk import apply
from dal.bulk.context import Context
from dal.bulk.keyed import Keyed, different
from dal.bulk.locking import counted_delete, counted_update
from dal.bulk.plan import BadValue, ColumnPlan
from dal.bulk.refusal import of_rows
from dal.bulk.returning import Returning
from dal.bulk.rows import Group
from dal.bulk.staging import POSITION, Stage
from dal.bulk.tally import Tally
from dal.bulk.unnest import arrays_of, unnested

__all__ = ["delete", "update", "upsert"]

BELOW = 1_000
"""Rows from which on a staging table costs less: where both columns of `benchmarks/bulk.py switch` cross."""
DELETES_BELOW = 100
"""Keys from which on locking rows before they are deleted costs more than it is worth, by the same benchmark."""
_GIVEN = "dal_given"


def upsert(
    context: Context,
    carried: tuple[str, ...],
    group: Group,
    keyed: Keyed,
    tally: Tally,
    back: Returning | None,
    *,
    isolates: bool,
) -> bool:
    """Upsert the rows of a group, if they are few.

    Args:
        context: The call.
        carried: What the rows carried before anything was filled in.
        group: The rows, with all that Python gives them.
        keyed: What tells them apart.
        tally: Takes the counts.
        back: What shall come back, or None.
        isolates: Whether constraints that would be checked at COMMIT are checked now.

    Returns:
        Whether they were written; if not, nothing was.
    """
    number = len(group.values)
    if number >= BELOW or group.batch is not None or (back is not None and keyed.duplicates != "error"):
        return False
    plan, applied = context.plan(group.names), _applied(context, carried, group.names, keyed)
    done = _tried(context, plan, group.values, apply.counted_upsert(applied, _given(context, plan)), keyed, isolates=isolates)
    if done is None:
        return False
    fresh, changed = done
    tally.inserted += fresh
    tally.updated += changed
    tally.unchanged += number - fresh - changed
    if back is not None:
        back.take_by(group, keyed.key, (), tally)
    return True


def update(context: Context, group: Group, keyed: Keyed, tally: Tally, *, isolates: bool) -> bool:
    """Update the rows of a group, if they are few.

    Args:
        context: The call; its target is one table.
        group: The rows.
        keyed: What tells them apart.
        tally: Takes the counts.
        isolates: As for `upsert`.

    Returns:
        Whether they were written; if not, nothing was.
    """
    number = len(group.values)
    applied = _applied(context, group.names, group.names, keyed)
    if number >= BELOW or group.batch is not None or not applied.written:
        return False
    plan = context.plan(group.names)
    done = _tried(context, plan, group.values, counted_update(applied, _given(context, plan)), keyed, isolates=isolates)
    if done is None:
        return False
    there, changed = done
    tally.updated += changed
    tally.unchanged += there - changed
    tally.missing += number - there
    return True


def delete(context: Context, keys: Sequence[tuple[Any, ...]], key: tuple[str, ...], tally: Tally, *, isolates: bool) -> bool:
    """Delete a few rows by their keys.

    Args:
        context: The call; its target is one table.
        keys: The keys, fewer than `DELETES_BELOW`.
        key: The attributes that they are of.
        tally: Takes the counts.
        isolates: As for `upsert`.

    Returns:
        Whether they were deleted; if not, nothing was.
    """
    keyed, plan = Keyed(key, (), "first"), context.plan(key)
    statement = counted_delete(_applied(context, key, key, keyed), _given(context, plan))
    done = _tried(context, plan, keys, statement, keyed, isolates=isolates)
    if done is None:
        return False
    tally.deleted += done[1]
    tally.missing += max(0, different(keys) - done[1])
    return True


def _applied(context: Context, carried: tuple[str, ...], names: tuple[str, ...], keyed: Keyed) -> apply.Applied:
    stage = Stage(_GIVEN, carried, names)
    return apply.Applied(context, stage, keyed.key, keyed.columns_of(carried, context.target), keyed.duplicates)


def _given(context: Context, plan: ColumnPlan) -> str:
    return unnested(plan, context.quoted(planned.column for planned in plan.columns), POSITION)


def _tried(
    context: Context, plan: ColumnPlan, rows: Sequence[tuple[Any, ...]], statement: str, keyed: Keyed, *, isolates: bool
) -> tuple[int, int] | None:
    """Send a statement that tells two counts and how many keys came twice; None where nothing was written."""
    try:
        values = arrays_of(plan, rows, context.wire.driver)
    except (BadValue, ValueError, TypeError):
        return None
    wire, found = context.wire, None
    wire.savepoint()
    try:
        one, other, twice = wire.fetch(statement, values)[0]
        if not twice or keyed.duplicates != "error":
            found = one, other
            if isolates and context.facts().deferred:
                wire.run("SET CONSTRAINTS ALL IMMEDIATE")
    except DBAPIError as error:
        if not of_rows(error):
            raise
        found = None
    except (ValueError, TypeError):
        # psycopg could not encode a value.
        found = None
    if found is not None:
        wire.release()
    else:
        wire.undo()
    return found

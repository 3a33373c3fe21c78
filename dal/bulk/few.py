"""Few: rows upserted by one statement on PostgreSQL, which costs a third of what a staging table does for one row.

    WITH dal_given AS MATERIALIZED (SELECT ... FROM unnest(%b::int8[], %b::text[]) WITH ORDINALITY ...),
    written AS (INSERT INTO users ... SELECT ... FROM dal_given ORDER BY id ON CONFLICT ... RETURNING ...) SELECT count(*) ...

It is tried under a savepoint. Where a row is refused nothing was written, and the caller goes on as for many rows, where the
row is found. There is no such route for inserts: a COPY costs less from the first row on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import DBAPIError

from dal.bulk import apply
from dal.bulk.context import Context
from dal.bulk.keyed import Keyed
from dal.bulk.plan import BadValue, ColumnPlan
from dal.bulk.returning import Returning
from dal.bulk.rows import Group
from dal.bulk.staging import POSITION, Stage
from dal.bulk.tally import Tally
from dal.bulk.unnest import arrays_of, unnested

__all__ = ["upsert"]

BELOW = 1_000
"""Rows from which on a staging table costs less: where both columns of `benchmarks/bulk.py switch` cross."""
_GIVEN = "dal_given"
_OF_ROWS = {"21", "22", "23", "42", "44", "P0"}
"""Classes of errors that rows of their own can bring about, or their types: by the other route they are told in full."""


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
    plan, stage = context.plan(group.names), Stage(_GIVEN, carried, group.names, rows=number)
    written = keyed.columns_of(carried, context.target)
    applied = apply.Applied(context, stage, keyed.key, written, keyed.duplicates)
    names = context.quoted(planned.column for planned in plan.columns)
    statement = apply.counted_upsert(applied, unnested(plan, names, POSITION))

    def once(values: list[Any]) -> bool:
        fresh, changed, twice = context.wire.fetch(statement, values)[0]
        if twice and keyed.duplicates == "error":
            return False
        tally.inserted += fresh
        tally.updated += changed
        tally.unchanged += number - fresh - changed
        return True

    done = _tried(context, plan, group, once, isolates=isolates)
    if done and back is not None:
        back.take_by(group, keyed.key, (), tally)
    return done


def _tried(context: Context, plan: ColumnPlan, group: Group, once: Callable[[list[Any]], bool], *, isolates: bool) -> bool:
    try:
        values = arrays_of(plan, plan.converted(list(group.values)), context.wire.driver)
    except (BadValue, ValueError, TypeError):
        return False
    wire = context.wire
    wire.savepoint()
    try:
        done = once(values)
        if done and isolates and context.facts().deferred:
            wire.run("SET CONSTRAINTS ALL IMMEDIATE")
    except DBAPIError as error:
        if error.connection_invalidated or (getattr(error.orig, "sqlstate", None) or "22")[:2] not in _OF_ROWS:
            raise
        done = False
    except (ValueError, TypeError):
        # psycopg could not encode a value.
        done = False
    if done:
        wire.release()
    else:
        wire.undo()
    return done

"""Applying: rows are staged, then written by one statement; where a row is refused, the server sifts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlalchemy.exc import DBAPIError

from dal.bulk.ahead import ahead
from dal.bulk.context import Context
from dal.bulk.refusal import of_error
from dal.bulk.rejecting import Rejecting
from dal.bulk.rows import Group
from dal.bulk.sieve import sift
from dal.bulk.staging import Stage, Staging
from dal.bulk.unchecked import Unchecked

__all__ = ["applied_or_sifted", "staged"]

_TWICE = "21000"


def staged(
    context: Context, rejecting: Rejecting, rows: Iterator[tuple[tuple[str, ...], Group]], keep: int, *, alone: bool
) -> Staging:
    """Stage all rows.

    Args:
        context: The call.
        rejecting: What happens to rows that cannot be sent.
        rows: The groups, with what their rows carried before anything was filled in.
        keep: How many groups are kept, so that a row can be shown when it is refused later.
        alone: Whether making the rows needs nothing and nobody.

    Raises:
        RowError: A row cannot be sent, and `rejecting` does not take it.
    """
    with Staging(context, rejecting, keep) as staging:
        for part in ahead(rows, alone=alone):
            for carried, group in part:
                staging.send(carried, group)
            if not alone:
                staging.settle()
    return staging


def applied_or_sifted(
    context: Context,
    stage: Stage,
    staging: Staging,
    rejecting: Rejecting,
    checks: Unchecked | None,
    at_once: Callable[[], tuple[int, int]],
    some: Callable[[str], list[str]],
    before_sifting: Callable[[], object] = lambda: None,
) -> tuple[int, int]:
    """Write all staged rows by one statement; where one of them is refused, sift them.

    Args:
        context: The call.
        stage: The rows.
        staging: Where they are.
        rejecting: What happens to those that are refused.
        checks: What finds rows that share a key, where that is still to be done.
        at_once: Writes all; returns how many are new, and how many were changed.
        some: Returns statements that write those that meet a condition; see `sift`.
        before_sifting: Called before rows are sifted.

    Returns:
        How many rows are new, and how many were changed.

    Raises:
        RowError: A row cannot be written, and `rejecting` does not take it.
    """
    wire, plan = context.wire, context.plan(stage.names)
    immediate = rejecting.isolates and any(context.facts(at).deferred for at in range(len(context.target.parts)))
    done = _whole(context, stage, checks, at_once, immediate=immediate)
    if done is not None:
        return done
    before_sifting()
    sifted = sift(wire, stage.name, some, plan, first_only=not rejecting.isolates, immediate=immediate)
    for position, refused in sifted.refused:
        staging.reject(stage, position, refused)
    staging.forget(stage, [position for position, _ in sifted.refused])
    return sifted.fresh, sifted.changed


def _whole(
    context: Context,
    stage: Stage,
    checks: Unchecked | None,
    at_once: Callable[[], tuple[int, int]],
    *,
    immediate: bool,
) -> tuple[int, int] | None:
    """Write all staged rows by one statement, without those whose key another has; None where a row was refused."""
    wire = context.wire
    found = []
    wire.savepoint()
    try:
        done = at_once()
        if immediate:
            wire.run("SET CONSTRAINTS ALL IMMEDIATE")
    except DBAPIError as error:
        twice = checks is not None and getattr(error.orig, "sqlstate", None) == _TWICE
        if of_error(error, context.plan(stage.names)) is None and not twice:
            raise
    else:
        if checks is not None and sum(done) < stage.rows:
            found = checks.find()
        if not found:
            wire.release()
            return done
    wire.undo()
    if checks is None:
        return None
    checks.refuse(found or checks.find())
    return _whole(context, stage, None, at_once, immediate=immediate)

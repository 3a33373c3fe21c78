"""Upsert and update on PostgreSQL: rows are staged, checked for keys that come twice, and applied by one statement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, islice

from sqlalchemy.exc import DBAPIError

from dal.bulk import apply, few
from dal.bulk.ahead import ahead, asks
from dal.bulk.context import Context
from dal.bulk.filling import filled, lacking
from dal.bulk.keyed import Keyed, without_keyless
from dal.bulk.refusal import of_error
from dal.bulk.rejecting import Rejecting
from dal.bulk.returning import Returning
from dal.bulk.rows import Group
from dal.bulk.sieve import sift
from dal.bulk.staging import POSITION, Stage, Staging
from dal.bulk.tally import Tally
from dal.bulk.unchecked import Unchecked
from dal.errors import UnsupportedError, UsageError

__all__ = ["update", "upsert"]

_KEPT = 4
_TWICE = "21000"


def upsert(
    context: Context,
    chunks: Iterator[list[Group]],
    keyed: Keyed,
    tally: Tally,
    rejecting: Rejecting,
    back: Returning | None,
    *,
    at_hand: bool,
) -> None:
    """Insert rows, or update those that are there.

    Raises:
        RowError: A row cannot be written, and `rejecting` does not take it.
        UnsupportedError: The target has several tables.
    """
    if len(context.target.parts) > 1:
        raise UnsupportedError(
            f"{context.target.name} is kept in several tables, and an upsert writes one",
            hint="update() the rows that are there and insert() the others",
        )
    rows = _complete(context, chunks, keyed, rejecting)
    begun = list(islice(rows, 2))
    if len(begun) == 1 and few.upsert(context, *begun[0], keyed, tally, back, isolates=rejecting.isolates):
        return
    rows = chain(begun, rows)
    staging = _staged(context, rejecting, rows, alone=at_hand and not asks(context.target))
    checks = _checks_first(context, staging, keyed)
    for stage in staging:
        fresh, changed = _upserted(context, stage, _applied(context, stage, keyed), staging, rejecting, checks)
        tally.inserted += fresh
        tally.updated += changed
        tally.unchanged += stage.rows - fresh - changed
        if back is not None:
            _read_back(context, stage, keyed, back, tally)
    staging.drop()


def update(
    context: Context,
    chunks: Iterator[list[Group]],
    keyed: Keyed,
    tally: Tally,
    rejecting: Rejecting,
    back: Returning | None,
    *,
    at_hand: bool,
) -> None:
    """Update rows by their key.

    Raises:
        RowError: A row cannot be written, and `rejecting` does not take it.
    """
    kept = (without_keyless(group, keyed.key, rejecting) for groups in chunks for group in groups)
    staging = _staged(context, rejecting, ((group.names, group) for group in kept if group is not None), alone=at_hand)
    # A row of the table stands for one staged row where the key is the primary one, and the table is one.
    unique = set(keyed.key) == set(context.target.key) and len(context.target.parts) == 1
    checks = _checks_first(context, staging, keyed, counts_tell=unique)
    staging.analyze()
    for stage in staging:
        changed = _updated(context, stage, _parts(context, stage, keyed), staging, rejecting, checks)
        tally.updated += changed
        if changed < stage.rows:
            found = _found(context, stage, keyed)
            tally.missing += stage.rows - found
            tally.unchanged += found - changed
        if back is not None:
            _read_back(context, stage, keyed, back, tally)
    staging.drop()


def _complete(
    context: Context, chunks: Iterator[list[Group]], keyed: Keyed, rejecting: Rejecting
) -> Iterator[tuple[tuple[str, ...], Group]]:
    """Return the groups with all that Python gives them, and what they carried before."""
    for groups in chunks:
        for given in groups:
            group = filled(given, context.target, context.connection)
            lacks = lacking(group, context.target, context.facts())
            if lacks is not None:
                for index in range(len(group.values)):
                    rejecting.lacks(group, index, lacks)
            elif kept := without_keyless(group, keyed.key, rejecting):
                yield given.names, kept


def _staged(context: Context, rejecting: Rejecting, rows: Iterator[tuple[tuple[str, ...], Group]], *, alone: bool) -> Staging:
    with Staging(context, rejecting, _KEPT) as staging:
        for part in ahead(rows, alone=alone):
            for carried, group in part:
                staging.send(carried, group)
            if not alone:
                staging.settle()
    return staging


def _checks_first(context: Context, staging: Staging, keyed: Keyed, *, counts_tell: bool = True) -> Unchecked | None:
    """Refuse rows that share a key, or return what does it once the counts of a statement leave it open.

    Of a key that comes twice, ON CONFLICT refuses to write both: only where some rows were left as they are, two of them may
    have had one key. So the search for them, which sorts all rows, is seldom needed.
    """
    if keyed.duplicates != "error" or not len(staging):
        return None
    unchecked = Unchecked(context, staging, keyed)
    if counts_tell and len(staging) == 1:
        return unchecked
    unchecked.refuse(unchecked.find())
    return None


def _parts(context: Context, stage: Stage, keyed: Keyed) -> list[apply.Applied]:
    """Return the update of each table."""
    whole = _applied(context, stage, keyed)
    if not whole.written:
        raise UsageError("the rows carry nothing but their key", hint="give the columns that shall change")
    parts = context.target.parts
    for part in parts:
        if not set(keyed.key) <= set(part.columns):
            raise UnsupportedError(
                f"{context.target.name} is kept in several tables, and {part.table.name} has no {keyed.key[0]}",
                hint="leave key= out: the primary key is in each of them",
            )
    return [
        replace(whole, part=at, written=tuple(name for name in whole.written if context.home(name) == at))
        for at in range(len(parts))
    ]


def _applied(context: Context, stage: Stage, keyed: Keyed) -> apply.Applied:
    return apply.Applied(context, stage, keyed.key, keyed.columns_of(stage.carried, context.target), keyed.duplicates)


def _upserted(
    context: Context, stage: Stage, applied: apply.Applied, staging: Staging, rejecting: Rejecting, checks: Unchecked | None
) -> tuple[int, int]:
    def at_once() -> tuple[int, int]:
        fresh, changed, _ = context.wire.fetch(apply.counted_upsert(applied))[0]
        return fresh, changed

    def some(within: str) -> list[str]:
        return [apply.upsert_into_counts(applied, within)]

    try:
        return _applied_or_sifted(context, stage, staging, rejecting, checks, at_once, some)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != "42P10":
            raise
        raise UsageError(
            f"{context.target.name} has no unique key of {', '.join(applied.key)}",
            hint="key= has to be the columns of a primary key, a unique constraint or a unique index",
        ) from error


def _updated(
    context: Context,
    stage: Stage,
    parts: list[apply.Applied],
    staging: Staging,
    rejecting: Rejecting,
    checks: Unchecked | None,
) -> int:
    def at_once() -> tuple[int, int]:
        changed = 0 if len(parts) == 1 else context.wire.fetch(apply.differing(parts))[0][0]
        for applied in parts:
            reached = context.wire.run(apply.update(applied)) if applied.written else 0
            changed = max(changed, reached)
        return 0, changed

    def some(within: str) -> list[str]:
        first, *others = [applied for applied in parts if applied.written]
        return [apply.update_into_counts(first, within), *(apply.update(applied, within) for applied in others)]

    return _applied_or_sifted(context, stage, staging, rejecting, checks, at_once, some)[1]


def _applied_or_sifted(
    context: Context,
    stage: Stage,
    staging: Staging,
    rejecting: Rejecting,
    checks: Unchecked | None,
    at_once: Callable[[], tuple[int, int]],
    some: Callable[[str], list[str]],
) -> tuple[int, int]:
    """Write all staged rows by one statement; where one of them is refused, sift them."""
    wire, plan = context.wire, context.plan(stage.names)
    immediate = rejecting.isolates and any(context.facts(at).deferred for at in range(len(context.target.parts)))
    done = _whole(context, stage, checks, at_once, immediate=immediate)
    if done is not None:
        return done
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


def _found(context: Context, stage: Stage, keyed: Keyed) -> int:
    match = _match(context, keyed)
    number: int = context.wire.fetch(f"SELECT count(*) FROM {stage.name} AS s JOIN {context.table()} AS dal_target ON {match}")[
        0
    ][0]
    return number


def _match(context: Context, keyed: Keyed) -> str:
    columns = context.quoted(context.target.columns[name] for name in keyed.key)
    return " AND ".join(f"dal_target.{name} = s.{name}" for name in columns)


def _read_back(context: Context, stage: Stage, keyed: Keyed, back: Returning, tally: Tally) -> None:
    columns = context.quoted(context.target.columns[name] for name in context.target.key)
    wanted = ", ".join(f"dal_target.{name}" for name in columns)
    rows = context.wire.fetch(
        f"SELECT s.{POSITION}, {wanted} FROM {stage.name} AS s JOIN {context.table()} AS dal_target ON {_match(context, keyed)}"
    )
    keys = back.loaded(context.target.key, [row[1:] for row in rows])
    back.take(Group(context.target.key, [row[0] for row in rows], rows, keys), (), tally)

"""Upsert and update on PostgreSQL: rows are staged, checked for keys that come twice, and applied by one statement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice

from sqlalchemy.exc import DBAPIError

from dal.bulk import apply, few, pipelined
from dal.bulk.ahead import asks
from dal.bulk.applying import applied_or_sifted, staged
from dal.bulk.context import Context
from dal.bulk.filling import filled, lacking
from dal.bulk.joined import Joined, of_other_classes, refuse_other_classes
from dal.bulk.keyed import Keyed, without_keyless
from dal.bulk.locking import lock
from dal.bulk.ordering import in_order, joins_keep
from dal.bulk.rejecting import Rejecting
from dal.bulk.returning import Returning
from dal.bulk.rows import Group
from dal.bulk.staging import POSITION, Stage, Staging
from dal.bulk.tally import Tally
from dal.bulk.unchecked import Unchecked
from dal.errors import UnsupportedError, UsageError

__all__ = ["update", "upsert"]

_KEPT = 4


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
        UnsupportedError: The target has several tables, and the key is not in the root's.
    """
    rows = _complete(context, chunks, keyed, rejecting)
    begun = list(islice(rows, 2))
    unshared = not context.target.shares
    if unshared and len(begun) == 1 and few.upsert(context, *begun[0], keyed, tally, back, isolates=rejecting.isolates):
        return
    alone = at_hand and not asks(context.target)
    if unshared and alone and begun and back is None and not rejecting.isolates and begun[0][1].batch is None:
        begun += rows
        if pipelined.upsert(context, begun, keyed, tally):
            return
    rows = chain(begun, rows)
    staging = staged(context, rejecting, rows, _KEPT, alone=alone)
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
    rows: Iterator[tuple[tuple[str, ...], Group]] = ((group.names, group) for group in kept if group is not None)
    one_table = len(context.target.parts) == 1
    if one_table and back is None:
        begun = list(islice(rows, 2))
        if len(begun) == 1 and few.update(context, begun[0][1], keyed, tally, isolates=rejecting.isolates):
            return
        rows = chain(begun, rows)
    staging = staged(context, rejecting, rows, _KEPT, alone=at_hand)
    # A row of the table stands for one staged row where the key is the primary one, and the table is one.
    checks = _checks_first(context, staging, keyed, counts_tell=one_table and set(keyed.key) == set(context.target.key))
    with in_order(context.wire):
        for stage in staging:
            parts = _parts(context, stage, keyed)
            if not one_table:
                # They are not there as rows of this class.
                staging.forget(stage, of_other_classes(parts))
            changed = _updated(context, stage, parts, staging, rejecting, checks)
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
    writing: _Upsert | Joined
    if len(context.target.parts) == 1:
        writing = _Upsert(applied)
        if context.target.shares:
            refuse_other_classes([applied], staging)
    else:
        writing = Joined(applied)
        writing.prepare(staging)
    try:
        return applied_or_sifted(context, stage, staging, rejecting, checks, writing.at_once, writing.some)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != "42P10":
            raise
        raise UsageError(
            f"{context.target.name} has no unique key of {', '.join(applied.key)}",
            hint="key= has to be the columns of a primary key, a unique constraint or a unique index",
        ) from error


@dataclass(frozen=True)
class _Upsert:
    """An upsert of one table."""

    applied: apply.Applied

    def at_once(self) -> tuple[int, int]:
        fresh, changed, _ = self.applied.context.wire.fetch(apply.counted_upsert(self.applied))[0]
        return fresh, changed

    def some(self, within: str) -> list[str]:
        return [apply.upsert_into_counts(self.applied, within)]


def _updated(
    context: Context,
    stage: Stage,
    parts: list[apply.Applied],
    staging: Staging,
    rejecting: Rejecting,
    checks: Unchecked | None,
) -> int:
    def at_once() -> tuple[int, int]:
        for applied in parts:
            if applied.written and not joins_keep(context, applied.key, applied.part):
                context.wire.run(lock(applied, "NO KEY UPDATE"))
        changed = 0 if len(parts) == 1 else context.wire.fetch(apply.differing(parts))[0][0]
        for applied in parts:
            reached = context.wire.run(apply.update(applied)) if applied.written else 0
            changed = max(changed, reached)
        return 0, changed

    def some(within: str) -> list[str]:
        first, *others = [applied for applied in parts if applied.written]
        return [apply.update_into_counts(first, within), *(apply.update(applied, within) for applied in others)]

    return applied_or_sifted(context, stage, staging, rejecting, checks, at_once, some)[1]


def _found(context: Context, stage: Stage, keyed: Keyed) -> int:
    match = apply.same_row(_applied(context, stage, keyed))
    number: int = context.wire.fetch(f"SELECT count(*) FROM {stage.name} AS s JOIN {context.table()} AS dal_target ON {match}")[
        0
    ][0]
    return number


def _read_back(context: Context, stage: Stage, keyed: Keyed, back: Returning, tally: Tally) -> None:
    columns = context.quoted(context.target.columns[name] for name in context.target.key)
    wanted = ", ".join(f"dal_target.{name}" for name in columns)
    match = apply.same_row(_applied(context, stage, keyed))
    rows = context.wire.fetch(
        f"SELECT s.{POSITION}, {wanted} FROM {stage.name} AS s JOIN {context.table()} AS dal_target ON {match}"
    )
    oids = [planned.facts.oid for planned in context.plan(context.target.key).columns]
    keys = back.loaded(context.target.key, oids, [row[1:] for row in rows])
    back.take(Group(context.target.key, [row[0] for row in rows], rows, keys), (), tally)

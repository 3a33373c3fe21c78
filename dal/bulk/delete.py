"""Delete on PostgreSQL: keys as arrays, or staged where they are more than can be held; deleted in the order of the key.

    DELETE FROM t USING (SELECT id FROM unnest(%b::int8[]) ORDER BY id) AS s WHERE t.id = s.id

Where another table refers to a row, keys are staged and sifted, which finds it. The rows of several tables are locked in the
root's first: that is where an update begins.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy.exc import DBAPIError

from dal.bulk import apply, few
from dal.bulk.applying import applied_or_sifted, staged
from dal.bulk.context import Context
from dal.bulk.joined import of_other_classes
from dal.bulk.keyed import different, taken, without_keyless
from dal.bulk.locking import lock
from dal.bulk.ordering import in_order, joins_keep
from dal.bulk.plan import BadValue
from dal.bulk.refusal import of_error
from dal.bulk.rejecting import Rejecting
from dal.bulk.rows import Group
from dal.bulk.staging import POSITION, Stage
from dal.bulk.tally import Tally
from dal.bulk.unnest import arrays_of, unnested
from dal.errors import UsageError

__all__ = ["SCALARS", "delete", "scalars_as_tuples"]

SCALARS: frozenset[type] = frozenset({int, str, float, bytes, uuid.UUID})
"""Types that are no rows, each by itself."""

_AT_ONCE = 1_000_000
"""Keys that are sent as arrays at most."""
_KEPT = 4


def scalars_as_tuples(keys: Iterable[Any]) -> Iterator[Any]:
    """Return keys so that a single value is a row of one.

    Raises:
        UsageError: It is one key: a text, a dict or an object, of whose parts none is a key.
    """
    if isinstance(keys, (str, bytes, Mapping)) or not isinstance(keys, Iterable):
        raise UsageError(
            f"keys is a {type(keys).__name__}, not many keys", hint="write a list, even for one key: delete([key])"
        )
    return (key if _is_row(key) else (key,) for key in keys)


def _is_row(key: Any) -> bool:
    return isinstance(key, (tuple, list, dict)) or hasattr(key, "_fields") or hasattr(key, "_sa_instance_state")


def delete(
    context: Context, chunks: Iterator[list[Group]], key: tuple[str, ...], tally: Tally, rejecting: Rejecting, *, at_hand: bool
) -> None:
    """Delete rows by their key.

    Args:
        context: The call.
        chunks: The rows that carry the keys.
        key: The attributes that tell rows apart.
        tally: Takes the counts.
        rejecting: What happens to a key that cannot be deleted.
        at_hand: Whether the keys are there already.

    Raises:
        RowError: A key is not of its column's type, or another table refers to a row.
    """
    kept = (without_keyless(group, key, rejecting) for groups in chunks for group in groups)
    keys: Iterator[Group] = (_keys(group, key) for group in kept if group is not None)
    if at_hand and len(context.target.parts) == 1:
        groups = list(keys)
        number = sum(len(group.values) for group in groups)
        if not number:
            return
        if number <= _AT_ONCE:
            by = few.delete if number < few.DELETES_BELOW else _by_arrays
            values = list(chain.from_iterable(group.values for group in groups))
            if by(context, values, key, tally, isolates=rejecting.isolates):
                return
        keys = iter(groups)
    _staged(context, keys, key, tally, rejecting, at_hand=at_hand)


def _keys(group: Group, key: tuple[str, ...]) -> Group:
    if group.names == key:
        return group
    return Group(key, group.positions, group.given, taken(group.values, [group.names.index(name) for name in key]))


def _by_arrays(
    context: Context, keys: Sequence[tuple[Any, ...]], key: tuple[str, ...], tally: Tally, *, isolates: bool
) -> bool:
    """Delete all keys by one statement, and tell whether that was done; if not, nothing was."""
    if (isolates and context.facts().deferred) or not joins_keep(context, key):
        return False
    plan, wire = context.plan(key), context.wire
    given = unnested(plan, context.quoted(planned.column for planned in plan.columns), POSITION)
    statement = apply.delete(apply.Applied(context, Stage(f"({given}) AS dal_given", key, key), key, ()))
    try:
        values = arrays_of(plan, keys, wire.driver)
    except (BadValue, ValueError, TypeError):
        return False
    with in_order(wire):
        wire.savepoint()
        try:
            deleted = wire.run(statement, values)
        except DBAPIError as error:
            if of_error(error, plan) is None:
                raise
            wire.undo()
            deleted = None
        else:
            wire.release()
    if deleted is None:
        return False
    tally.deleted += deleted
    if deleted < len(keys):
        tally.missing += max(0, different(keys) - deleted)
    return True


def _staged(
    context: Context, groups: Iterator[Group], key: tuple[str, ...], tally: Tally, rejecting: Rejecting, *, at_hand: bool
) -> None:
    wire, parts = context.wire, range(len(context.target.parts))
    keep = _AT_ONCE if at_hand else _KEPT
    staging = staged(context, rejecting, ((key, group) for group in groups), keep, alone=at_hand)
    columns = context.quoted(context.target.columns[name] for name in key)
    with in_order(wire):
        for stage in staging:
            root, *others = (apply.Applied(context, stage, key, (), part=at) for at in parts)
            if others:
                strangers = of_other_classes([root, *others])
                if strangers:
                    tally.missing += _different(context, stage, columns, f"{POSITION} = ANY(%s)", strangers)
                    staging.forget(stage, strangers)
            same = " AND ".join(f"one.{name} = other.{name}" for name in columns)

            def at_once(root: apply.Applied = root, others: list[apply.Applied] = others) -> tuple[int, int]:
                if others or not joins_keep(context, key):
                    wire.run(lock(root, "UPDATE"))
                for each in reversed(others):
                    wire.run(apply.delete(each))
                return 0, wire.run(apply.delete(root))

            def some(within: str, root: apply.Applied = root, others: list[apply.Applied] = others) -> list[str]:
                return [*(apply.delete(each, within) for each in reversed(others)), apply.delete_into_counts(root, within)]

            def once_each(stage: Stage = stage, same: str = same) -> None:
                # Of keys that come twice, the first counts.
                wire.run(
                    f"DELETE FROM {stage.name} AS one USING {stage.name} AS other "
                    f"WHERE {same} AND one.{POSITION} > other.{POSITION}"
                )

            _, deleted = applied_or_sifted(context, stage, staging, rejecting, None, at_once, some, once_each)
            tally.deleted += deleted
            if deleted < stage.rows:
                tally.missing += max(0, _different(context, stage, columns) - deleted)
    staging.drop()


def _different(context: Context, stage: Stage, columns: Sequence[str], condition: str = "true", *values: Any) -> int:
    """Return how many different keys are staged."""
    keys = f"SELECT DISTINCT {', '.join(columns)} FROM {stage.name} WHERE {condition}"
    return int(context.wire.fetch(f"SELECT count(*) FROM ({keys}) AS k", values or None)[0][0])

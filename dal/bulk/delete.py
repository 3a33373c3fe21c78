"""Delete on PostgreSQL: the keys go as arrays, one statement for many thousand of them.

DELETE FROM t USING unnest(%b::int8[]) AS s(k0) WHERE t.id = s.k0
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy.exc import DBAPIError

from dal.bulk.context import Context
from dal.bulk.plan import BadValue, ColumnPlan
from dal.bulk.refusal import of_bad_value, of_error
from dal.bulk.rejecting import Rejecting
from dal.bulk.rows import Group
from dal.bulk.tally import Tally

__all__ = ["delete", "scalars_as_tuples"]


def scalars_as_tuples(keys: Iterable[Any]) -> Iterator[Any]:
    """Return keys so that a single value is a row of one."""
    for key in keys:
        yield (key,) if isinstance(key, (int, str, float, bytes)) or not _is_row(key) else key


def _is_row(key: Any) -> bool:
    return isinstance(key, (tuple, list, dict)) or hasattr(key, "_fields") or hasattr(key, "_sa_instance_state")


def delete(context: Context, chunks: Iterator[list[Group]], key: tuple[str, ...], tally: Tally, rejecting: Rejecting) -> None:
    """Delete rows by their key.

    Raises:
        RowError: A key is not of its column's type, or another table refers to a row.
    """
    for groups in chunks:
        for group in groups:
            places = [group.names.index(name) for name in key if name in group.names]
            if len(places) < len(key):
                lacks = next(name for name in key if name not in group.names)
                for index in range(len(group.values)):
                    rejecting.lacks(group, index, lacks)
                continue
            _delete(
                context,
                group,
                key,
                list(dict.fromkeys(tuple(row[at] for at in places) for row in group.values)),
                tally,
                rejecting,
            )


def _delete(
    context: Context, group: Group, key: tuple[str, ...], keys: list[tuple[Any, ...]], tally: Tally, rejecting: Rejecting
) -> None:
    plan = context.plan(key)
    try:
        values = plan.converted(keys)
    except BadValue as error:
        rejecting.reject(group, _index(group, key, keys[error.index]), of_bad_value(error))
        return
    for at in reversed(range(len(context.target.parts))):
        try:
            changed = context.wire.run(_statement(context, at, key), _arrays(values, plan))
        except DBAPIError as error:
            refused = of_error(error, plan)
            if refused is None:
                raise
            rejecting.reject(group, _by_text(group, key, refused.key), refused)
            return
    tally.deleted += changed
    tally.missing += len(keys) - changed


def _statement(context: Context, at: int, key: Sequence[str]) -> str:
    names = context.quoted(context.target.parts[at].columns[name] for name in key)
    plan = context.plan(key, at)
    arrays = ", ".join(f"%b::{planned.facts.bare}[]" for planned in plan.columns)
    if len(names) == 1:
        return f"DELETE FROM {context.table(at)} WHERE {names[0]} = ANY({arrays})"
    given = ", ".join(f"k{number}" for number in range(len(names)))
    match = " AND ".join(f"dal_target.{name} = s.k{number}" for number, name in enumerate(names))
    return f"DELETE FROM {context.table(at)} AS dal_target USING unnest({arrays}) AS s({given}) WHERE {match}"


def _arrays(values: Sequence[tuple[Any, ...]], plan: ColumnPlan) -> list[list[Any]]:
    return [list(column) for column in zip(*values, strict=True)] if values else [[] for _ in plan.columns]


def _index(group: Group, key: Sequence[str], wanted: tuple[Any, ...]) -> int:
    places = [group.names.index(name) for name in key]
    return next((at for at, row in enumerate(group.values) if tuple(row[place] for place in places) == wanted), 0)


def _by_text(group: Group, key: Sequence[str], named: Any) -> int:
    places = [group.names.index(name) for name in key]
    text = named[1] if named else ""
    return next((at for at, row in enumerate(group.values) if ", ".join(str(row[place]) for place in places) == text), 0)

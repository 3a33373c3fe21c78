"""Delete on PostgreSQL: the keys go as arrays, one statement for many thousand of them.

DELETE FROM t USING unnest(%b::int8[]) AS s(k0) WHERE t.id = s.k0
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy.exc import DBAPIError

from dal.bulk.context import Context
from dal.bulk.isolate import isolate
from dal.bulk.keyed import taken, without_keyless
from dal.bulk.plan import BadValue, ColumnPlan
from dal.bulk.refusal import Refused, of_bad_value, of_error
from dal.bulk.rejecting import Rejecting
from dal.bulk.rows import Group
from dal.bulk.tally import Tally
from dal.errors import UsageError

__all__ = ["SCALARS", "delete", "scalars_as_tuples"]

SCALARS: frozenset[type] = frozenset({int, str, float, bytes, uuid.UUID})
"""Types that are no rows, each by itself."""


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


def delete(context: Context, chunks: Iterator[list[Group]], key: tuple[str, ...], tally: Tally, rejecting: Rejecting) -> None:
    """Delete rows by their key.

    Raises:
        RowError: A key is not of its column's type, or another table refers to a row.
    """
    for groups in chunks:
        for given in groups:
            group = without_keyless(given, key, rejecting)
            if group is None:
                continue
            keys = taken(group.values, [group.names.index(name) for name in key])
            # Of keys that come twice, the first counts.
            first = dict(zip(reversed(keys), range(len(keys) - 1, -1, -1), strict=True))
            deleting = _Deleting(context, key, list(first))
            at, bad = list(first.values()), 0

            def reject(index: int, refused: Refused, group: Group = group, at: list[int] = at) -> None:
                nonlocal bad
                rejecting.reject(group, at[index], refused)
                bad += 1

            isolate(context.wire, deleting, reject, immediate=rejecting.isolates and context.facts().deferred)
            tally.deleted += deleting.deleted
            tally.missing += len(first) - bad - deleting.deleted


_INTEGERS = {"int2", "int4", "int8"}


class _Deleting:
    """Keys on their way to be deleted; an `Attempt` for `isolate`."""

    def __init__(self, context: Context, key: tuple[str, ...], keys: list[tuple[Any, ...]]) -> None:
        self.plan = context.plan(key)
        self.deleted = 0
        self._context = context
        self._key = key
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def write(self, start: int, stop: int) -> None:
        reached = 0
        try:
            values = self.plan.converted(self._keys[start:stop])
            for at in reversed(range(len(self._context.target.parts))):
                reached = self._context.wire.run(_statement(self._context, at, self._key), _arrays(values, self.plan))
        except BadValue as error:
            raise of_bad_value(error) from error
        except DBAPIError as error:
            refused = of_error(error, self.plan)
            if refused is None:
                raise
            raise refused from error
        self.deleted += reached

    def matching(self, start: int, stop: int, key: tuple[Sequence[str], str]) -> Sequence[int]:
        names = [planned.column.name for planned in self.plan.columns]
        if list(key[0]) != names:
            return []
        return [index for index in range(start, stop) if ", ".join(map(str, self._keys[index])) == key[1]]


def _statement(context: Context, at: int, key: Sequence[str]) -> str:
    names = context.quoted(context.target.parts[at].columns[name] for name in key)
    plan = context.plan(key, at)
    arrays = ", ".join(f"%b::{planned.facts.bare}[]" for planned in plan.columns)
    if len(names) == 1:
        return f"DELETE FROM {context.table(at)} WHERE {names[0]} = ANY({arrays})"
    given = ", ".join(f"k{number}" for number in range(len(names)))
    match = " AND ".join(f"dal_target.{name} = s.k{number}" for number, name in enumerate(names))
    return f"DELETE FROM {context.table(at)} AS dal_target USING unnest({arrays}) AS s({given}) WHERE {match}"


def _arrays(values: Sequence[tuple[Any, ...]], plan: ColumnPlan) -> list[Any]:
    return [_array(planned.kind.wire, list(map(itemgetter(at), values))) for at, planned in enumerate(plan.columns)]


def _array(wire: str, values: list[Any]) -> Any:
    # The text of many integers is made in a fraction of the time that psycopg takes for them one by one.
    if wire in _INTEGERS and set(map(type, values)) == {int}:
        return f"{{{','.join(map(str, values))}}}"
    return values

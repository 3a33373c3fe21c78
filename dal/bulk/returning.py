"""Returning: the rows as they are after a bulk write, or some of their columns, in the order of the rows given.

They are read by their primary key, in the same transaction: by what route they were written does not matter. Columns whose
values are known already (ids taken from a sequence) are not read again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, select, tuple_
from sqlalchemy.orm import Session

from dal.bulk.keyed import picked, taken
from dal.bulk.rows import Group
from dal.bulk.tally import Tally
from dal.bulk.target import Target
from dal.errors import UnsupportedError

__all__ = ["Returning", "read_back"]

_TOGETHER = 5_000


@dataclass(frozen=True)
class Returning:
    """What shall come back.

    Args:
        names: The attributes, or None for whole objects.
        session: The caller's session, which objects are loaded into; without one they are detached.
        connection: Where columns are read.
        target: Where rows went.
    """

    names: tuple[str, ...] | None
    session: Session | None
    connection: Connection
    target: Target

    def take(self, group: Group, bad: Collection[int], tally: Tally) -> None:
        """Take what is asked for of a group that was written, by its primary keys.

        Args:
            group: The rows, with their keys.
            bad: Places of those that were not written.
            tally: Takes what comes back.
        """
        kept = picked(group, [index for index in range(len(group.values)) if index not in bad]) if bad else group
        places = _places(group.names, self.target.key)
        if places is None:
            raise UnsupportedError(
                f"the rows of {self.target.name} cannot be told apart before they are written",
                hint="give the primary key with the rows, or leave returning= out",
            )
        keys = taken(kept.values, places)
        if self.names is not None and set(self.names) <= set(self.target.key):
            order = [self.target.key.index(name) for name in self.names]
            tally.rows.update(zip(kept.positions, taken(keys, order), strict=True))
            return
        found = read_back(self, keys)
        tally.rows.update(zip(kept.positions, map(found, keys), strict=True))

    def take_by(self, group: Group, key: Sequence[str], bad: Collection[int], tally: Tally) -> None:
        """Take what is asked for of rows that are told apart by another key than the primary one.

        Args:
            group: The rows.
            key: The attributes that tell them apart.
            bad: Places of those that were not written.
            tally: Takes what comes back.
        """
        places = [group.names.index(name) for name in key]
        keys = taken(group.values, places)
        columns, primary = ([self.target.columns[name] for name in names] for names in (key, self.target.key))
        found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for start in range(0, len(keys), _TOGETHER):
            among = _among(columns, keys[start : start + _TOGETHER])
            for row in self.connection.execute(select(*columns, *primary).select_from(self.target.source).where(among)):
                found[tuple(row[: len(key)])] = tuple(row[len(key) :])
        kept = [at for at in range(len(keys)) if at not in bad]
        primaries = [found[keys[at]] for at in kept]
        self.take(Group(self.target.key, [group.positions[at] for at in kept], primaries, primaries), (), tally)

    def loaded(self, names: Sequence[str], oids: Sequence[int], rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Turn values as the driver gives them into those of the mapping's types.

        Args:
            names: The attributes.
            oids: Their types in the database: the driver's word for how it gives a value.
            rows: Values in their order.
        """
        dialect = self.connection.dialect
        loads: list[Any] = [
            self.target.columns[name].type.dialect_impl(dialect).result_processor(dialect, oid)
            for name, oid in zip(names, oids, strict=True)
        ]
        if not any(loads):
            return list(rows)
        return [tuple(value if load is None else load(value) for load, value in zip(loads, row, strict=True)) for row in rows]


def _places(names: Sequence[str], key: Sequence[str]) -> list[int] | None:
    return [names.index(name) for name in key] if key and set(key) <= set(names) else None


def read_back(returning: Returning, keys: Sequence[tuple[Any, ...]]) -> Callable[[tuple[Any, ...]], Any]:
    """Read rows by their primary keys.

    Args:
        returning: What is asked for.
        keys: The keys.

    Returns:
        A function from a key to its row.
    """
    target = returning.target
    columns = [target.columns[name] for name in target.key]
    found: dict[tuple[Any, ...], Any] = {}
    for start in range(0, len(keys), _TOGETHER):
        part = keys[start : start + _TOGETHER]
        among = _among(columns, part)
        if returning.names is None:
            found.update(_objects(returning, among))
        else:
            wanted = [target.columns[name] for name in returning.names]
            rows = returning.connection.execute(select(*columns, *wanted).select_from(target.source).where(among))
            found.update((tuple(row[: len(columns)]), row[len(columns) :]) for row in rows)
    return found.__getitem__


def _among(columns: Sequence[Column[Any]], keys: Sequence[tuple[Any, ...]]) -> Any:
    return columns[0].in_([key[0] for key in keys]) if len(columns) == 1 else tuple_(*columns).in_(keys)


def _objects(returning: Returning, among: Any) -> dict[tuple[Any, ...], Any]:
    mapper: Any = returning.target.mapper
    statement = select(mapper).where(among).execution_options(populate_existing=True)

    def key(each: Any) -> tuple[Any, ...]:
        return tuple(mapper.primary_key_from_instance(each))

    if returning.session is not None:
        return {key(each): each for each in returning.session.scalars(statement)}
    with Session(returning.connection) as session:
        found = {key(each): each for each in session.scalars(statement)}
        session.expunge_all()
    return found

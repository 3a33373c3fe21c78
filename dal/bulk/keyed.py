"""Keyed: what tells the rows of an upsert or update apart, and what two rows with one key mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from types import NoneType
from typing import Any

from dal.bulk.refusal import Refused
from dal.bulk.rejecting import Rejecting
from dal.bulk.rows import Group
from dal.bulk.target import Target
from dal.errors import UnsupportedError

__all__ = ["Keyed", "different", "of_another_class", "picked", "refuse_key", "same_key", "taken", "without_keyless"]


@dataclass(frozen=True)
class Keyed:
    """What an upsert or update is told.

    Args:
        key: The attributes that tell rows apart.
        written: The attributes that are set where a row is there already; None for all that a row carries.
        duplicates: What two rows with one key mean: "error", or which of them counts: "first" or "last".
    """

    key: tuple[str, ...]
    written: tuple[str, ...] | None
    duplicates: str

    def columns_of(self, carried: Sequence[str], target: Target) -> tuple[str, ...]:
        """Return the attributes that are set, of those that rows carry; a primary key is never."""
        allowed = carried if self.written is None else [name for name in self.written if name in carried]
        return tuple(name for name in allowed if name not in self.key and name not in target.key)

    def distinct(self, group: Group, seen: dict[tuple[Any, ...], int], rejecting: Rejecting) -> Group:
        """Return a group without rows whose key came before.

        Args:
            group: The rows.
            seen: The position of each key that came before; added to.
            rejecting: Takes those that are too many, unless they are let pass.
        """
        keys = taken(group.values, [group.names.index(name) for name in self.key])
        kept: dict[tuple[Any, ...], int] = {}
        for index in range(len(keys)):
            key = keys[index]
            if self.duplicates == "last":
                kept[key] = index
            elif key not in seen:
                kept[key] = index
                seen[key] = group.positions[index]
            elif self.duplicates == "error":
                rejecting.reject(group, index, same_key(self.key, seen[key]))
        return picked(group, sorted(kept.values()))


def same_key(key: Sequence[str], position: int) -> Refused:
    """Return the refusal of a row whose key another has."""
    return Refused(None, f"row {position} has the same {', '.join(key)}", column=key[0], sqlstate="21000")


def different(keys: Sequence[tuple[Any, ...]]) -> int:
    """Return how many keys there are, those that come twice counted once."""
    try:
        return len(set(keys))
    except TypeError:
        # Documents and arrays have no hash.
        return len(set(map(repr, keys)))


def of_another_class(target: Target, key: Sequence[str]) -> Refused:
    """Return the refusal of a row whose key is there as a row of another class."""
    reason = f"{target.table.name} has this {', '.join(key)} for a row of another class"
    return Refused(None, reason, column=key[0], sqlstate="23505")


def refuse_key(target: Target, key: Sequence[str]) -> None:
    """Refuse a key that is not in the root's table, where there are several.

    Raises:
        UnsupportedError: It is not.
    """
    for name in key:
        if name not in target.root.columns:
            raise UnsupportedError(
                f"{target.name} is kept in several tables, and the first, {target.table.name}, has no {name}",
                hint=f"give a key of {target.table.name}; or update() the rows that are there and insert() the others",
            )


def picked(group: Group, kept: Sequence[int]) -> Group:
    """Return some rows of a group."""
    if len(kept) == len(group.values):
        return group
    return replace(
        group,
        positions=[group.positions[index] for index in kept],
        given=[group.given[index] for index in kept],
        values=[group.values[index] for index in kept],
        batch=None,
    )


def taken(rows: Iterable[Any], places: Sequence[int]) -> list[tuple[Any, ...]]:
    """Return some values of each row.

    Args:
        rows: The rows.
        places: Where the values are.
    """
    if len(places) == 1:
        return list(zip(map(itemgetter(places[0]), rows)))
    return list(map(itemgetter(*places), rows)) if places else [() for _ in rows]


def without_keyless(group: Group, key: Sequence[str], rejecting: Rejecting) -> Group | None:
    """Return a group without the rows that have no key, or None where no row is left.

    Args:
        group: The rows.
        key: The attributes that tell rows apart.
        rejecting: Takes the others.
    """
    for name in key:
        if name not in group.names:
            for index in range(len(group.values)):
                rejecting.lacks(group, index, name)
            return None
        place = group.names.index(name)
        if _has_none(group, place):
            for index, row in enumerate(group.values):
                if row[place] is None:
                    rejecting.lacks(group, index, name)
            group = picked(group, [index for index, row in enumerate(group.values) if row[place] is not None])
    return group if len(group.values) else None


def _has_none(group: Group, place: int) -> bool:
    if group.batch is not None:
        return bool(group.batch.column(place).null_count)
    return NoneType in map(type, map(itemgetter(place), group.values))

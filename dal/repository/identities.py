"""Many objects by primary key with one query: in the order asked, None where there is none.

More keys than one statement may carry as parameters are asked for in several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, tuple_

from dal.errors import UsageError
from dal.repository.entities import Entity

__all__ = ["PARAMETERS", "among", "chunks", "get_many"]

T = TypeVar("T")

PARAMETERS = 30_000
"""How many parameters one statement carries at most: below SQLite's 32,766 and PostgreSQL's 65,535."""


def among(key: Sequence[Any], idents: Sequence[tuple[Any, ...]]) -> ColumnElement[bool]:
    """Build the condition that a row has one of these primary keys.

    Args:
        key: The columns of the primary key.
        idents: Their values, a tuple a row.
    """
    if len(key) == 1:
        condition: ColumnElement[bool] = key[0].in_([ident[0] for ident in idents])
        return condition
    return tuple_(*key).in_(idents)


def chunks(idents: Sequence[tuple[Any, ...]], width: int, size: int = PARAMETERS) -> Iterator[Sequence[tuple[Any, ...]]]:
    """Cut primary keys into parts that fit one statement each.

    Args:
        idents: The keys.
        width: How many columns a key has.
        size: How many parameters a statement may carry.

    Example:
        >>> [len(part) for part in chunks([(1, 1)] * 5, width=2, size=4)]
        [2, 2, 1]
    """
    step = max(1, size // width)
    for start in range(0, len(idents), step):
        yield idents[start : start + step]


def get_many(entity: Entity[T], idents: Iterable[Any], fetch: Callable[[Select[T]], Sequence[T]]) -> list[T | None]:
    """Load objects by primary key.

    Args:
        entity: What to load.
        idents: Primary keys as `get` takes them; repeated ones and None are fine.
        fetch: Sends one statement and returns its objects.

    Returns:
        One element a key, in the order asked.

    Raises:
        UsageError: An element is not a primary key, or there is one key where a list is wanted.
    """
    if isinstance(idents, (str, bytes, Mapping)) or not isinstance(idents, Iterable):
        raise UsageError(f"get_many takes a list of primary keys, not {idents!r}", hint=f"write get_many([{idents!r}])")
    asked = [entity.identity(ident) for ident in idents]
    wanted = list(dict.fromkeys(ident for ident in asked if ident is not None))
    found: dict[tuple[Any, ...], T] = {}
    for part in chunks(wanted, len(entity.key)):
        for loaded in fetch(entity.select.where(among(entity.key, part))):
            found[tuple(entity.mapper.primary_key_from_instance(loaded))] = loaded
    if found.keys() - set(wanted):
        _match_unequal(entity, [ident for ident in wanted if ident not in found], found, fetch)
    return [None if ident is None else found.get(ident) for ident in asked]


def _match_unequal(
    entity: Entity[T],
    missing: Sequence[tuple[Any, ...]],
    found: dict[tuple[Any, ...], T],
    fetch: Callable[[Select[T]], Sequence[T]],
) -> None:
    # The database found rows under keys that Python holds for different: "7" for 7, "A" for "a" in a case-blind column.
    # Which is which only the database can tell, one by one.
    for ident in missing:
        matches = [attribute == value for attribute, value in zip(entity.key, ident, strict=True)]
        for loaded in fetch(entity.select.where(and_(*matches))):
            found[ident] = loaded
